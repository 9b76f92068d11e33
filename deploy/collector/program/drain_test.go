package program

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// told serves metrics with these sizes of queues; `looks` counts how often they were read.
func told(test *testing.T, looks *atomic.Int64, sizes func(look int64) map[string]float64) string {
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(answer, "# TYPE otelcol_process_uptime counter\notelcol_process_uptime 7\n# TYPE %s gauge\n", queueSize)
		for exporter, size := range sizes(looks.Add(1)) {
			fmt.Fprintf(answer, "%s{data_type=\"traces\",exporter=%q} %g\n", queueSize, exporter, size)
		}
	}))
	test.Cleanup(server.Close)
	return server.URL
}

func TestItWaitsUntilEveryQueueIsEmpty(test *testing.T) {
	var looks atomic.Int64
	address := told(test, &looks, func(look int64) map[string]float64 {
		return map[string]float64{"otlp/a": float64(max(3-look, 0)), "otlp/b": float64(max(5-look, 0)) * 1.5e6}
	})
	left, err := drainSettings{metrics: address, most: time.Minute}.wait(context.Background())
	if left != 0 || err != nil || looks.Load() != 5 {
		test.Fatalf("%g left, %v, after %d looks", left, err, looks.Load())
	}
}

func TestItWaitsTheLeastAndTheMost(test *testing.T) {
	var looks, others atomic.Int64
	empty := told(test, &looks, func(int64) map[string]float64 { return map[string]float64{"otlp/a": 0} })
	full := told(test, &others, func(int64) map[string]float64 { return map[string]float64{"otlp/a": 1} })
	begun := time.Now()
	var said bytes.Buffer
	if code := drain([]string{"-metrics", empty, "-least", "700ms"}, &said); code != 0 || time.Since(begun) < 700*time.Millisecond || said.Len() > 0 {
		test.Fatalf("%d after %s: %s", code, time.Since(begun), &said)
	}
	begun = time.Now()
	if code := drain([]string{"-metrics", full, "-most", "1s"}, &said); code != 0 || time.Since(begun) < time.Second {
		test.Fatalf("%d after %s", code, time.Since(begun))
	}
	if !strings.Contains(said.String(), "not empty after 1s") {
		test.Fatalf("it says %q", &said)
	}
}

func TestNobodyIsWaitedForWhoIsGone(test *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL
	for _, what := range []string{"answers with an error", "is gone"} {
		var said bytes.Buffer
		begun := time.Now()
		if code := drain([]string{"-metrics", address, "-most", "1m"}, &said); code != 0 || time.Since(begun) > 10*time.Second {
			test.Fatalf("%s: %d after %s", what, code, time.Since(begun))
		}
		if !strings.Contains(said.String(), "failed to read the sizes of queues") {
			test.Fatalf("%s: it says %q", what, &said)
		}
		server.Close()
	}
}

func TestOneThatIsTooBusyToAnswerIsWaitedFor(test *testing.T) {
	var looks atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if looks.Add(1) == 1 {
			<-request.Context().Done()
			return
		}
		fmt.Fprintf(answer, "# TYPE %s gauge\n%s{exporter=\"otlp/a\"} %d\n", queueSize, queueSize, max(3-looks.Load(), 0))
	}))
	test.Cleanup(server.Close)
	var said bytes.Buffer
	if code := drain([]string{"-metrics", server.URL, "-most", "1m"}, &said); code != 0 || said.Len() > 0 || looks.Load() < 3 {
		test.Fatalf("%d after %d looks: %s", code, looks.Load(), &said)
	}
}

func TestQueuesThatOutliveThePodAreNotWaitedFor(test *testing.T) {
	var looks atomic.Int64
	address := told(test, &looks, func(look int64) map[string]float64 {
		return map[string]float64{"otlp/stored": 4, "otlp/memory": float64(max(2-look, 0))}
	})
	// A large configuration has several files.
	texts := []string{`
exporters:
  otlp/memory: {endpoint: "b:4317", sending_queue: {queue_size: 10}}
  debug:
`, `
exporters:
  otlp/stored: {endpoint: "a:4317", sending_queue: {storage: file_storage/queues}}
`}
	var files, arguments []string
	for number, text := range texts {
		file := filepath.Join(test.TempDir(), fmt.Sprintf("config-%d.yaml", number))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			test.Fatal(err)
		}
		files = append(files, file)
		arguments = append(arguments, "-stored="+file)
	}
	var said bytes.Buffer
	if code := drain(append([]string{"-metrics", address}, arguments...), &said); code != 0 || said.Len() > 0 || looks.Load() != 2 {
		test.Fatalf("%d after %d looks: %s", code, looks.Load(), &said)
	}
	// A file that cannot be read makes it wait for all.
	if code := drain([]string{"-metrics", address, "-stored", files[1] + "x", "-most", "1s"}, &said); code != 0 {
		test.Fatal(code)
	}
	if !strings.Contains(said.String(), "every queue in it is waited for") || !strings.Contains(said.String(), "not empty") {
		test.Fatalf("it says %q", &said)
	}
}

func TestUnknownArgumentsAreRefused(test *testing.T) {
	var said bytes.Buffer
	if code := drain([]string{"-mots", "1s"}, &said); code != 2 {
		test.Fatal(code)
	}
}
