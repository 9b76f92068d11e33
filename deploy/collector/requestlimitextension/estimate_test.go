package requestlimitextension

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

const unlimited = 1 << 40

// decoders decode a request as the receiver does, and keep what they have decoded.
var decoders = map[*message]func([]byte) (any, error){
	traces: func(body []byte) (any, error) {
		request := ptraceotlp.NewExportRequest()
		return request, request.UnmarshalProto(body)
	},
	logs: func(body []byte) (any, error) {
		request := plogotlp.NewExportRequest()
		return request, request.UnmarshalProto(body)
	},
	metrics: func(body []byte) (any, error) {
		request := pmetricotlp.NewExportRequest()
		return request, request.UnmarshalProto(body)
	},
}

// inMemory is how much of the heap something takes that is decoded.
func inMemory(t *testing.T, decode func([]byte) (any, error), body []byte) int64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	decoded, err := decode(body)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(decoded)
	runtime.KeepAlive(body)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// wrap is a field of that number with this content.
func wrap(number uint64, content []byte) []byte {
	body := binary.AppendUvarint(nil, number<<3|2)
	body = binary.AppendUvarint(body, uint64(len(content)))
	return append(body, content...)
}

// occurrences are the ways in which a field can be on the wire at the least cost for its sender.
func occurrences(number uint64, known field) [][]byte {
	tag := func(kind uint64) []byte { return binary.AppendUvarint(nil, number<<3|kind) }
	switch known.shape {
	case text:
		return [][]byte{wrap(number, nil), wrap(number, []byte("x"))}
	case nested:
		return [][]byte{wrap(number, nil)}
	case varints:
		return [][]byte{wrap(number, make([]byte, 64)), append(tag(0), 1)}
	case doubles:
		return [][]byte{wrap(number, make([]byte, 64)), append(tag(1), make([]byte, 8)...)}
	}
	return nil
}

// Every field of every message, as often as it goes into a request: none takes more memory than is told.
func TestNothingTakesMoreMemoryThanIsEstimated(t *testing.T) {
	const times = 20_000
	tried := map[string]bool{}
	var visit func(root, of *message, path []uint64)
	visit = func(root, of *message, path []uint64) {
		fields := map[uint64]field{1000: of.deprecated}
		for n, known := range of.fields {
			fields[uint64(n)] = known
		}
		for n, known := range fields {
			for variant, one := range occurrences(n, known) {
				name := fmt.Sprintf("%s/%s.%d/%d", root.name, of.name, n, variant)
				if tried[name] || known == (field{}) {
					continue
				}
				tried[name] = true
				body := []byte(strings.Repeat(string(one), times))
				for at := len(path) - 1; at >= 0; at-- {
					body = wrap(path[at], body)
				}
				estimated, err := estimate(body, root, unlimited)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if real := inMemory(t, decoders[root], body); real > estimated+estimated/20+64<<10 {
					t.Errorf("%s: %d bytes take %d, estimated are %d", name, len(body), real, estimated)
				}
			}
			if known.shape == nested && known.of != nil && !strings.Contains(fmt.Sprint(tried), root.name+"/"+known.of.name+".") {
				visit(root, known.of, append(append([]uint64{}, path...), n))
			}
		}
	}
	for root := range decoders {
		visit(root, root, nil)
	}
	if len(tried) < 100 {
		t.Fatalf("only %d fields were tried", len(tried))
	}
}

// A release of the library with a message or larger ones must not go unnoticed.
func TestSizesAreThoseOfTheLibrary(t *testing.T) {
	named := map[string]*message{}
	for one := range sizes {
		named[one.name] = one
	}
	for _, inside := range []*message{resource, scope, spanStatus, buckets, traces, logs, metrics} {
		named[inside.name] = inside
	}
	seen := map[reflect.Type]bool{}
	var visit func(of reflect.Type)
	visit = func(of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || seen[of] {
			return
		}
		seen[of] = true
		one, ok := named[of.Name()]
		if !ok {
			t.Errorf("message %s has no size", of.Name())
			return
		}
		if size, ok := sizes[one]; ok && int64(of.Size()) > size {
			t.Errorf("%s takes %d bytes, not %d", one.name, of.Size(), size)
		}
		for n := range of.NumField() {
			visit(of.Field(n).Type)
		}
	}
	for _, request := range []any{ptraceotlp.ExportRequest{}, plogotlp.ExportRequest{}, pmetricotlp.ExportRequest{}} {
		visit(reflect.TypeOf(request).Field(0).Type)
	}
	if len(seen) < 15 {
		t.Fatalf("only %d messages were found", len(seen))
	}
}

func spans(count int) ptraceotlp.ExportRequest {
	request := ptraceotlp.NewExportRequest()
	scope := request.Traces().ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	for n := range count {
		one := scope.Spans().AppendEmpty()
		one.SetName("GET /api/orders/{id}")
		one.SetTraceID([16]byte{1, byte(n)})
		one.SetSpanID([8]byte{2, byte(n)})
		one.SetStartTimestamp(1 << 60)
		one.SetEndTimestamp(1<<60 + 1)
		one.Attributes().PutStr("http.request.method", "GET")
		one.Attributes().PutInt("http.response.status_code", 200)
		one.Attributes().PutBool("ok", true)
	}
	return request
}

func TestOrdinaryRequestsOfTheLargestSizePass(t *testing.T) {
	request := spans(25_000)
	body, _ := request.MarshalProto()
	text, _ := request.MarshalJSON()
	if len(body) < 3<<20 {
		t.Fatalf("%d bytes", len(body))
	}
	inProtobuf, err := estimate(body, traces, 8*int64(len(body)))
	if err != nil {
		t.Errorf("%d bytes: %v", len(body), err)
	}
	inJSON, err := estimateJSON(text, 8*int64(len(text)))
	if err != nil {
		t.Errorf("%d bytes of JSON: %v", len(text), err)
	}
	real := inMemory(t, decoders[traces], body)
	t.Logf("%d bytes and %d of JSON take %d; estimates %d and %d", len(body), len(text), real, inProtobuf, inJSON)
	if inProtobuf < real || inJSON < real {
		t.Errorf("%d bytes were estimated as %d and %d", real, inProtobuf, inJSON)
	}
}

func TestHostileMessagesAreRefused(t *testing.T) {
	deep := []byte{}
	for range 10_000 {
		deep = wrap(5, wrap(1, deep))
	}
	inSpan := func(content []byte) []byte {
		for _, n := range []uint64{2, 9, 2, 2, 1} {
			content = wrap(n, content)
		}
		return content
	}
	for name, body := range map[string][]byte{
		"empty resources": []byte(strings.Repeat("\x0a\x00", 2<<20)),
		"empty spans":     wrap(1, wrap(2, []byte(strings.Repeat("\x12\x00", 2<<20)))),
		"deep values":     inSpan(deep),
	} {
		if _, err := estimate(body, traces, 32<<20); !errors.Is(err, errDecodedTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, body := range map[string]string{
		"cut length": "\x0a", "longer than the rest": "\x0a\x05x", "field 0": "\x02\x00", "group": "\x0b", "endless number": "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		if _, err := estimate([]byte(body), traces, 32<<20); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Any bytes: the estimate never crashes, and never refuses what it has taken with a higher bound.
func FuzzEstimate(f *testing.F) {
	body, _ := spans(2).MarshalProto()
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, root := range []*message{traces, logs, metrics} {
			bytes, err := estimate(body, root, unlimited)
			if _, again := estimate(body, root, bytes); err == nil && again != nil {
				t.Errorf("%d bytes: %v", bytes, again)
			}
		}
		_, _ = estimateJSON(body, unlimited)
	})
}

func TestHostileJSONIsRefused(t *testing.T) {
	list := func(key, item string, times int) string {
		return `{"` + key + `":[` + strings.TrimSuffix(strings.Repeat(item+",", times), ",") + `]}`
	}
	within := func(text string) string { return `{"resourceSpans":[{"scopeSpans":[` + text + `]}]}` }
	const times = 200_000
	for name, text := range map[string]string{
		"empty resources":     list("resourceSpans", "{}", times),
		"empty spans":         within(list("spans", "{}", times)),
		"spans like values":   within(list("spans", `{"intValue":1}`, times)),
		"with escaped names":  within(list(`\u0073pans`, "{}", times)),
		"attributes":          within(`{"spans":[` + list("attributes", `{"key":"","value":{"intValue":1}}`, times) + `]}`),
		"arrays of arrays":    within(`{"spans":[{"attributes":[{"value":{"arrayValue":` + list("values", `{"arrayValue":{}}`, times) + `}}]}]}`),
		"names of attributes": list("resourceSpans", `{"resource":{"entityRefs":[{"idKeys":["",""]}]}}`, times/4),
	} {
		estimated, err := estimateJSON([]byte(text), unlimited)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		decode := func(body []byte) (any, error) {
			request := ptraceotlp.NewExportRequest()
			return request, request.UnmarshalJSON(body)
		}
		if real := inMemory(t, decode, []byte(text)); real > estimated+estimated/20+64<<10 {
			t.Errorf("%s: %d bytes take %d, estimated are %d", name, len(text), real, estimated)
		}
	}
	deep := within(`{"spans":[` + strings.Repeat(`{"attributes":[{"value":{"arrayValue":{"values":[`, 200))
	if _, err := estimateJSON([]byte(deep), unlimited); !errors.Is(err, errDecodedTooLarge) {
		t.Errorf("deep values: %v", err)
	}
	// What stands in texts counts as text.
	text := within(`{"spans":[{"name":"` + strings.Repeat(`{[,\"`, 1000) + `"}]}`)
	if estimated, err := estimateJSON([]byte(text), unlimited); err != nil || estimated > 8192 {
		t.Errorf("text: %d, %v", estimated, err)
	}
}
