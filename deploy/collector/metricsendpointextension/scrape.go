package metricsendpointextension

// This file: one text from several sources.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"go.uber.org/zap"
)

const (
	plainText = "text/plain; version=0.0.4; charset=utf-8"
	// Longest line: labels of one series.
	longestLine = 1 << 20
)

type scraper struct {
	sources []string
	client  *http.Client
	logger  *zap.Logger
}

func newScraper(sources []string, logger *zap.Logger) *scraper {
	// Never by a proxy of the pod's environment, and compressed by nobody: these are addresses on loopback.
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: atOnce, IdleConnTimeout: idle}
	return &scraper{sources: sources, client: &http.Client{Transport: transport}, logger: logger}
}

// write answers with the metrics of all sources. The first one has to be there; of the others, a comment says that they are not.
func (scraper *scraper) write(ctx context.Context, answer http.ResponseWriter) {
	first, err := scraper.open(ctx, scraper.sources[0])
	if err != nil {
		scraper.logger.Warn("failed to read the collector's own metrics", zap.Error(err))
		http.Error(answer, "the collector's own metrics are not there", http.StatusBadGateway)
		return
	}
	answer.Header().Set("Content-Type", plainText)
	families := map[string]bool{}
	if err := copyFamilies(answer, first, families); err != nil {
		scraper.abort(err)
	}
	for _, source := range scraper.sources[1:] {
		body, err := scraper.open(ctx, source)
		if err != nil {
			scraper.logger.Warn("failed to read a source of metrics", zap.String("source", source), zap.Error(err))
			_, _ = fmt.Fprintf(answer, "# %s is not there\n", source)
			continue
		}
		if err := copyFamilies(answer, body, families); err != nil {
			scraper.abort(err)
		}
	}
}

// abort breaks the answer off: a part of the metrics would look like all of them.
func (scraper *scraper) abort(err error) {
	scraper.logger.Debug("failed to pass metrics on", zap.Error(err))
	panic(http.ErrAbortHandler)
}

func (scraper *scraper) open(ctx context.Context, source string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, source, http.NoBody)
	if err != nil {
		return nil, err
	}
	// The format in which families can be told apart line by line.
	request.Header.Set("Accept", "text/plain;version=0.0.4")
	response, err := scraper.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, errors.New(response.Status)
	}
	return response.Body, nil
}

// copyFamilies passes on the families of metrics that no source before has written, such as `target_info`: twice, a reader would
// refuse all of it. Those that it writes are added to `families`.
func copyFamilies(to io.Writer, from io.ReadCloser, families map[string]bool) error {
	defer func() { _ = from.Close() }()
	own, isKnown := map[string]bool{}, false
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), longestLine)
	writer := bufio.NewWriterSize(to, 32<<10)
	for lines.Scan() {
		line := lines.Bytes()
		if name, ok := family(line); ok {
			isKnown = families[name]
			own[name] = true
		}
		if isKnown {
			continue
		}
		_, _ = writer.Write(line)
		_ = writer.WriteByte('\n')
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for name := range own {
		families[name] = true
	}
	return writer.Flush()
}

// family is the name in a line `# HELP name …` or `# TYPE name …`; what is between two of them belongs to the first one.
func family(line []byte) (string, bool) {
	for _, prefix := range [][]byte{[]byte("# HELP "), []byte("# TYPE ")} {
		if rest, ok := bytes.CutPrefix(line, prefix); ok {
			name, _, _ := bytes.Cut(rest, []byte(" "))
			return string(name), true
		}
	}
	return "", false
}
