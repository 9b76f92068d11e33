package requestlimitextension

// This file: OTLP over gRPC. The library decodes a request before an interceptor sees it, so the codec only keeps the bytes, and the
// interceptor, which knows the request, decodes them.

import (
	"context"
	"reflect"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	// Registers the codec that does the work.
	_ "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

const (
	// What a stream may have in buffers before its turn has come, whatever the sender's pace.
	streamWindow = 128 << 10
	// The same of a connection, which is acknowledged as soon as it has arrived.
	connectionWindow = 1 << 20
)

// GetGRPCServerOptions puts the limits before the decoder.
func (limits *limits) GetGRPCServerOptions(context.Context) ([]grpc.ServerOption, error) {
	codec := &codec{CodecV2: encoding.GetCodecV2("proto")}
	server := &server{limits: limits, codec: codec}
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec),
		grpc.InTapHandle(server.tap),
		grpc.StatsHandler(server),
		grpc.ChainUnaryInterceptor(server.intercept),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connectionWindow),
	}, nil
}

// codec keeps the bytes of a message, by the message that they shall become.
type codec struct {
	encoding.CodecV2
	kept sync.Map
}

// Unmarshal keeps the bytes.
func (codec *codec) Unmarshal(data mem.BufferSlice, message any) error {
	data.Ref()
	codec.kept.Store(message, data)
	return nil
}

type call struct {
	request
	data mem.BufferSlice
}

type callKey struct{}

type server struct {
	limits *limits
	codec  *codec
}

// tap refuses what may not even wait. It runs where the connection is read, so it must not wait itself.
func (server *server) tap(ctx context.Context, _ *tap.Info) (context.Context, error) {
	sender := ""
	if from, ok := peer.FromContext(ctx); ok {
		sender = host(from.Addr.String())
	}
	if server.limits.gate.isFull(sender) {
		return nil, status.Error(codes.Unavailable, errBusy.Error())
	}
	ctx, cancel := context.WithCancel(ctx)
	one := &call{request: request{limits: server.limits, sender: sender, cancel: cancel}}
	return context.WithValue(ctx, callKey{}, one), nil
}

func (server *server) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (server *server) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (server *server) HandleConn(context.Context, stats.ConnStats)                       {}

// HandleRPC follows a call in its own goroutine: it waits for its turn before its bytes are read.
func (server *server) HandleRPC(ctx context.Context, event stats.RPCStats) {
	one, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return
	}
	switch event := event.(type) {
	case *stats.Begin:
		// Without the call's context: what is given up still has bytes that would be decompressed.
		_ = server.limits.gate.enter(context.Background(), one.sender)
		one.receive()
	case *stats.InPayload:
		one.received()
		if data, ok := server.codec.kept.LoadAndDelete(event.Payload); ok {
			one.data = data.(mem.BufferSlice)
		}
	case *stats.End:
		one.free()
		one.end()
		one.cancel()
	}
}

func (one *call) free() {
	one.data.Free()
	one.data = nil
}

// intercept decodes the message of a call when the budget has room for it.
func (server *server) intercept(ctx context.Context, message any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	one, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return nil, status.Error(codes.Internal, "the request has passed no limit")
	}
	if err := server.decode(ctx, one, message); err != nil {
		return nil, err
	}
	return handler(ctx, message)
}

func (server *server) decode(ctx context.Context, one *call, message any) error {
	defer one.passTurn()
	whole := one.data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	one.free()
	root, ok := rootOf(reflect.TypeOf(message).Elem().Name())
	if !ok {
		return status.Errorf(codes.Unimplemented, "requests of type %T are not taken", message)
	}
	decoded, err := estimate(whole.ReadOnlyData(), root, server.limits.config.MaxDecodedMiB*mebibyte)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if err := one.admit(ctx, decoded, whole.Len()); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	if err := server.codec.CodecV2.Unmarshal(mem.BufferSlice{whole}, message); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return nil
}
