package requestlimitextension

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

const traceMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

func defaults() *Config { return NewFactory().CreateDefaultConfig().(*Config) }

// receiver takes traces and says how many.
type receiver struct {
	ptraceotlp.UnimplementedGRPCServer
	spans, now, most atomic.Int64
	pause            time.Duration
}

func (receiver *receiver) take(request ptraceotlp.ExportRequest) {
	now := receiver.now.Add(1)
	for most := receiver.most.Load(); now > most && !receiver.most.CompareAndSwap(most, now); most = receiver.most.Load() {
	}
	time.Sleep(receiver.pause)
	receiver.spans.Add(int64(request.Traces().SpanCount()))
	receiver.now.Add(-1)
}

func (receiver *receiver) Export(_ context.Context, request ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	receiver.take(request)
	return ptraceotlp.NewExportResponse(), nil
}

func (receiver *receiver) ServeHTTP(answer http.ResponseWriter, asked *http.Request) {
	body, _ := io.ReadAll(asked.Body)
	request := ptraceotlp.NewExportRequest()
	decode := request.UnmarshalProto
	if strings.HasPrefix(asked.Header.Get("Content-Type"), jsonText) {
		decode = request.UnmarshalJSON
	}
	if err := decode(body); err != nil {
		answer.WriteHeader(http.StatusTeapot)
		return
	}
	receiver.take(request)
}

// raw sends bytes as they are.
type raw struct{}

func (raw) Name() string { return "proto" }
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }

func startGRPC(t *testing.T, limits *limits, receiver *receiver) *grpc.ClientConn {
	t.Helper()
	options, err := limits.GetGRPCServerOptions(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(options, grpc.MaxRecvMsgSize(4*mebibyte))...)
	ptraceotlp.RegisterGRPCServer(server, receiver)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = connection.Close()
		server.Stop()
		limits.isIdle(t)
	})
	return connection
}

// isIdle fails unless everything was given back.
func (limits *limits) isIdle(t *testing.T) {
	t.Helper()
	for range 200 {
		limits.gate.mu.Lock()
		free := limits.gate.free == limits.config.Requests && limits.gate.queue.Len() == 0
		limits.gate.mu.Unlock()
		if free && limits.budget.TryAcquire(limits.config.BudgetMiB*mebibyte) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("something was not given back")
}

func sendRaw(connection *grpc.ClientConn, body []byte, options ...grpc.CallOption) codes.Code {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	options = append(options, grpc.ForceCodecV2(raw{}))
	return status.Code(connection.Invoke(ctx, traceMethod, body, new(int), options...))
}

func TestRequestsOverGRPC(t *testing.T) {
	receiver := &receiver{}
	connection := startGRPC(t, newLimits(defaults()), receiver)
	for _, compressor := range []string{"identity", "gzip", "zstd", "snappy"} {
		_, err := ptraceotlp.NewGRPCClient(connection).Export(context.Background(), spans(100), grpc.UseCompressor(compressor))
		if err != nil {
			t.Errorf("%s: %v", compressor, err)
		}
	}
	if receiver.spans.Load() != 400 {
		t.Errorf("%d spans have arrived", receiver.spans.Load())
	}
	for name, one := range map[string]struct {
		body []byte
		code codes.Code
	}{
		"hostile":   {bytes.Repeat([]byte{10, 0}, 2*mebibyte-16), codes.InvalidArgument},
		"malformed": {[]byte{10}, codes.InvalidArgument},
		"wrong":     {wrap(1, []byte{8, 1}), codes.InvalidArgument},
		"too large": {make([]byte, 4*mebibyte+1), codes.ResourceExhausted},
		"empty":     {nil, codes.OK},
	} {
		if code := sendRaw(connection, one.body, grpc.UseCompressor("gzip")); code != one.code {
			t.Errorf("%s: %v", name, code)
		}
	}
	err := connection.Invoke(context.Background(), "/unknown/Method", []byte{}, new(int), grpc.ForceCodecV2(raw{}))
	if status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

func TestBudgetHoldsForAllRequestsTogether(t *testing.T) {
	receiver := &receiver{pause: 20 * time.Millisecond}
	config := defaults()
	limits := newLimits(config)
	connection := startGRPC(t, limits, receiver)
	// About 20 MiB each once they are decoded: three at a time.
	body := wrap(1, wrap(2, bytes.Repeat([]byte{0x12, 0}, 90_000)))
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if code := sendRaw(connection, body, grpc.UseCompressor("gzip")); code != codes.OK {
				t.Error(code)
			}
		})
	}
	all.Wait()
	if most := receiver.most.Load(); most > 3 || most < 2 {
		t.Errorf("%d at once", most)
	}
	if receiver.spans.Load() != 40*90_000 {
		t.Error(receiver.spans.Load())
	}
}

func TestSlowSendersGiveWay(t *testing.T) {
	config := defaults()
	config.Requests, config.RequestsPerSender = 1, 1
	limits := newLimits(config)
	connection := startGRPC(t, limits, &receiver{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Its headers arrive and nothing else; the caller of another address waits behind it.
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, traceMethod, grpc.ForceCodecV2(raw{}))
	if err != nil {
		t.Fatal(err)
	}
	for !limits.gate.isInside("127.0.0.1") {
		time.Sleep(time.Millisecond)
	}
	begun := time.Now()
	if err := limits.gate.enter(context.Background(), "another"); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(begun); waited < receiveContended/2 || waited > 2*receiveContended {
		t.Error(waited)
	}
	limits.gate.leave("another")
	if err := stream.RecvMsg(new(int)); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
}

func TestSlowBodiesGiveWay(t *testing.T) {
	config := defaults()
	config.Requests, config.RequestsPerSender = 1, 1
	limits := newLimits(config)
	wrapper, _ := limits.GetHTTPHandler(context.Background())
	handler, _ := wrapper(context.Background(), &receiver{})
	server := httptest.NewServer(handler)
	defer server.Close()
	body, rest := io.Pipe()
	defer rest.Close()
	status := make(chan int, 1)
	go func() {
		answer, err := http.Post(server.URL+"/v1/traces", protobuf, body)
		if err != nil {
			status <- 0
			return
		}
		status <- answer.StatusCode
	}()
	_, _ = rest.Write([]byte{10})
	for !limits.gate.isInside("127.0.0.1") {
		time.Sleep(time.Millisecond)
	}
	if err := limits.gate.enter(context.Background(), "another"); err != nil {
		t.Fatal(err)
	}
	limits.gate.leave("another")
	if code := <-status; code != http.StatusServiceUnavailable {
		t.Error(code)
	}
	limits.isIdle(t)
}

func (gate *gate) isInside(sender string) bool {
	gate.mu.Lock()
	defer gate.mu.Unlock()
	return gate.inside[sender] > 0
}

func TestCallsThatAreGivenUpLeaveNothing(t *testing.T) {
	receiver := &receiver{}
	connection := startGRPC(t, newLimits(defaults()), receiver)
	body := bytes.Repeat([]byte{10, 0}, 200_000)
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(n)*100*time.Microsecond)
			defer cancel()
			_ = connection.Invoke(ctx, traceMethod, body, new(int), grpc.ForceCodecV2(raw{}), grpc.UseCompressor("gzip"))
		})
	}
	all.Wait()
}

func zipped(body []byte) []byte {
	var text bytes.Buffer
	writer := gzip.NewWriter(&text)
	_, _ = writer.Write(body)
	_ = writer.Close()
	return text.Bytes()
}

func TestRequestsOverHTTP(t *testing.T) {
	receiver := &receiver{}
	limits := newLimits(defaults())
	wrapper, _ := limits.GetHTTPHandler(context.Background())
	handler, _ := wrapper(context.Background(), receiver)
	server := httptest.NewServer(handler)
	defer server.Close()
	body, _ := spans(100).MarshalProto()
	text, _ := spans(100).MarshalJSON()
	encoder, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault))
	var framed bytes.Buffer
	writer := snappy.NewBufferedWriter(&framed)
	_, _ = writer.Write(body)
	_ = writer.Close()
	hostile := bytes.Repeat([]byte{10, 0}, 2*mebibyte-16)
	for name, one := range map[string]struct {
		path, kind, encoding string
		body                 []byte
		status               int
	}{
		"plain":          {"/v1/traces", protobuf, "", body, 200},
		"gzip":           {"/v1/traces", protobuf, "gzip", zipped(body), 200},
		"zstd":           {"/v1/traces", protobuf, "zstd", encoder.EncodeAll(body, nil), 200},
		"snappy":         {"/v1/traces", protobuf, "snappy", snappy.Encode(nil, body), 200},
		"snappy stream":  {"/v1/traces", protobuf, "snappy", framed.Bytes(), 200},
		"json":           {"/v1/traces", jsonText + "; charset=utf-8", "gzip", zipped(text), 200},
		"hostile":        {"/v1/traces", protobuf, "gzip", zipped(hostile), 413},
		"hostile json":   {"/v1/traces", jsonText, "gzip", zipped([]byte(`{"resourceSpans":[` + strings.Repeat("{},", 1_000_000) + "{}]}")), 413},
		"large":          {"/v1/traces", protobuf, "gzip", zipped(make([]byte, 4*mebibyte+1)), 413},
		"malformed":      {"/v1/traces", protobuf, "", []byte{10}, 400},
		"no gzip":        {"/v1/traces", protobuf, "gzip", body, 400},
		"other encoding": {"/v1/traces", protobuf, "br", body, 400},
		"other path":     {"/v1/other", protobuf, "", body, 404},
		"wide zstd":      {"/v1/traces", protobuf, "zstd", []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x98, 1, 0, 0}, 400},
	} {
		request, _ := http.NewRequest(http.MethodPost, server.URL+one.path, bytes.NewReader(one.body))
		request.Header.Set("Content-Type", one.kind)
		if one.encoding != "" {
			request.Header.Set("Content-Encoding", one.encoding)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != one.status {
			t.Errorf("%s: %d", name, answer.StatusCode)
		}
	}
	if receiver.spans.Load() != 600 {
		t.Errorf("%d spans have arrived", receiver.spans.Load())
	}
	limits.isIdle(t)
}

func TestQueueOfASenderIsBounded(t *testing.T) {
	config := defaults()
	config.Requests, config.RequestsPerSender, config.Waiting = 1, 1, 4
	limits := newLimits(config)
	_ = limits.gate.enter(context.Background(), "another")
	first := enter(limits.gate, "127.0.0.1")
	connection := startGRPC(t, limits, &receiver{})
	if code := sendRaw(connection, nil); code != codes.Unavailable {
		t.Error(code)
	}
	wrapper, _ := limits.GetHTTPHandler(context.Background())
	handler, _ := wrapper(context.Background(), &receiver{})
	server := httptest.NewServer(handler)
	defer server.Close()
	answer, err := http.Post(server.URL+"/v1/traces", protobuf, nil)
	if err != nil || answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "" {
		t.Error(answer, err)
	}
	limits.gate.leave("another")
	<-first
	limits.gate.leave("127.0.0.1")
}

func TestDecoderOfZstdIsReplaced(t *testing.T) {
	if _, ok := encoding.GetCompressor("zstd").(boundedZstd); !ok {
		t.Fatalf("%T", encoding.GetCompressor("zstd"))
	}
}

func TestSettingsThatLetNothingPassAreRefused(t *testing.T) {
	if err := defaults().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []Config{{}, {MaxBodyMiB: 4, MaxDecodedMiB: 2}, {MaxBodyMiB: 4, MaxDecodedMiB: 8, BudgetMiB: 4}, {MaxBodyMiB: 1, MaxDecodedMiB: 1, BudgetMiB: 1}} {
		if err := wrong.Validate(); err == nil {
			t.Errorf("%+v", wrong)
		}
	}
	if NewFactory().Type() != component.MustNewType("request_limit") {
		t.Fatal(NewFactory().Type())
	}
}
