package requestlimitextension

// This file: decompression within bounds. Receivers over HTTP leave it to this package (`compression_algorithms: []`), so that it is part
// of a request's turn; over gRPC the library's own decoders work piece by piece, that of zstd aside, which is replaced here.

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	// Registers the decoder that is replaced: its initialisation comes before that of this package.
	_ "go.opentelemetry.io/collector/config/configgrpc"
	"google.golang.org/grpc/encoding"
)

// A decoder of zstd makes room for what the frame says is its window, 512 MiB at most unless it is told otherwise.
const zstdWindow = 8 << 20

var (
	errTooLarge = errors.New("the request is too large after decompression")
	// How compressed bytes in snappy's format for streams begin; others are one block.
	snappyStream = []byte("\xff\x06\x00\x00sNaPpY")
)

// decompressed reads a body of at most `largest` bytes.
func decompressed(body io.Reader, name string, largest int64) ([]byte, error) {
	reader, err := decoder(body, name, largest)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var whole bytes.Buffer
	n, err := io.Copy(&whole, io.LimitReader(reader, largest+1))
	switch {
	case err != nil:
		return nil, err
	case n > largest:
		return nil, errTooLarge
	}
	return whole.Bytes(), nil
}

func decoder(body io.Reader, name string, largest int64) (io.ReadCloser, error) {
	switch name {
	case "", "identity":
		return io.NopCloser(body), nil
	case "gzip":
		return gzip.NewReader(body)
	case "zlib", "deflate":
		return zlib.NewReader(body)
	case "zstd":
		reader, err := newZstd(body)
		if err != nil {
			return nil, err
		}
		return reader.IOReadCloser(), nil
	case "lz4":
		return io.NopCloser(lz4.NewReader(body)), nil
	case "snappy":
		return fromSnappy(body, largest)
	}
	return nil, fmt.Errorf("unsupported Content-Encoding: %q", name)
}

func newZstd(from io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
}

func fromSnappy(body io.Reader, largest int64) (io.ReadCloser, error) {
	buffered := bufio.NewReader(body)
	if start, _ := buffered.Peek(len(snappyStream)); bytes.Equal(start, snappyStream) {
		return io.NopCloser(snappy.NewReader(buffered)), nil
	}
	block, err := io.ReadAll(io.LimitReader(buffered, largest+1))
	if err != nil {
		return nil, err
	}
	size, err := snappy.DecodedLen(block)
	switch {
	case err != nil:
		return nil, err
	case int64(size) > largest:
		return nil, errTooLarge
	}
	whole, err := snappy.Decode(nil, block)
	return io.NopCloser(bytes.NewReader(whole)), err
}

// boundedZstd decompresses messages of gRPC; it compresses as before.
type boundedZstd struct{ encoding.Compressor }

// Decompress reads a message.
func (boundedZstd) Decompress(from io.Reader) (io.Reader, error) {
	reader, err := newZstd(from)
	if err != nil {
		return nil, err
	}
	return reader.IOReadCloser(), nil
}

func init() {
	if before := encoding.GetCompressor("zstd"); before != nil {
		encoding.RegisterCompressor(boundedZstd{before})
	}
}
