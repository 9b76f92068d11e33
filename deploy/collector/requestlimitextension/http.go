package requestlimitextension

// This file: OTLP over HTTP.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	protobuf = "application/x-protobuf"
	jsonText = "application/json"
)

// GetHTTPHandler puts the limits before the handlers of a receiver.
func (limits *limits) GetHTTPHandler(context.Context) (func(context.Context, http.Handler) (http.Handler, error), error) {
	return func(_ context.Context, next http.Handler) (http.Handler, error) {
		return &handler{limits: limits, next: next}, nil
	}, nil
}

type handler struct {
	limits *limits
	next   http.Handler
}

func (handler *handler) ServeHTTP(answer http.ResponseWriter, asked *http.Request) {
	kind, _, err := mime.ParseMediaType(asked.Header.Get("Content-Type"))
	if err != nil || asked.Method != http.MethodPost || (kind != protobuf && kind != jsonText) {
		// The receiver refuses these before it reads them.
		asked.Body = http.NoBody
		handler.next.ServeHTTP(answer, asked)
		return
	}
	root, ok := rootOfPath(asked.URL.Path)
	if !ok {
		http.NotFound(answer, asked)
		return
	}
	control := http.NewResponseController(answer)
	one := &request{limits: handler.limits, sender: host(asked.RemoteAddr)}
	one.cancel = func() { _ = control.SetReadDeadline(time.Now()) }
	defer one.end()
	body, refused := handler.read(one, asked, kind, root)
	if refused != nil {
		refused.write(answer, kind)
		return
	}
	asked.Body = io.NopCloser(bytes.NewReader(body))
	asked.ContentLength = int64(len(body))
	asked.Header.Del("Content-Encoding")
	handler.next.ServeHTTP(answer, asked)
}

// read returns the bytes of a request for which the budget has room.
func (handler *handler) read(one *request, asked *http.Request, kind string, root *message) ([]byte, *refusal) {
	if handler.limits.gate.isFull(one.sender) {
		return nil, &refusal{http.StatusTooManyRequests, codes.Unavailable, errBusy}
	}
	if err := handler.limits.gate.enter(asked.Context(), one.sender); err != nil {
		return nil, &refusal{http.StatusServiceUnavailable, codes.Unavailable, err}
	}
	one.receive()
	defer one.passTurn()
	largest := handler.limits.config.MaxBodyMiB * mebibyte
	body, err := decompressed(asked.Body, asked.Header.Get("Content-Encoding"), largest)
	one.received()
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errTooLarge) || errors.As(err, &tooLarge):
		return nil, &refusal{http.StatusRequestEntityTooLarge, codes.InvalidArgument, errTooLarge}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal{http.StatusServiceUnavailable, codes.Unavailable, errSlow}
	case err != nil:
		return nil, &refusal{http.StatusBadRequest, codes.InvalidArgument, err}
	}
	most := handler.limits.config.MaxDecodedMiB * mebibyte
	var decoded int64
	if kind == jsonText {
		decoded, err = estimateJSON(body, most)
	} else {
		decoded, err = estimate(body, root, most)
	}
	switch {
	case errors.Is(err, errDecodedTooLarge):
		return nil, &refusal{http.StatusRequestEntityTooLarge, codes.InvalidArgument, err}
	case err != nil:
		return nil, &refusal{http.StatusBadRequest, codes.InvalidArgument, err}
	}
	if err := one.admit(asked.Context(), decoded, len(body)); err != nil {
		return nil, &refusal{http.StatusServiceUnavailable, codes.Unavailable, err}
	}
	return body, nil
}

// refusal is an answer as OTLP wants it: a status message in the format of the request.
type refusal struct {
	status int
	code   codes.Code
	reason error
}

func (refusal *refusal) write(answer http.ResponseWriter, kind string) {
	message := status.New(refusal.code, refusal.reason.Error()).Proto()
	encode := proto.Marshal
	if kind == jsonText {
		encode = protojson.Marshal
	}
	text, err := encode(message)
	if err != nil {
		text = nil
	}
	answer.Header().Set("Content-Type", kind)
	if refusal.status == http.StatusTooManyRequests || refusal.status == http.StatusServiceUnavailable {
		answer.Header().Set("Retry-After", "1")
	}
	answer.WriteHeader(refusal.status)
	_, _ = answer.Write(text)
}
