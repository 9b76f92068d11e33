package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Name of the subcommand that a pod runs before it stops.
const drainCommand = "drain"

// Items, bytes or requests in the queue of an exporter, those that are being sent or wait for a retry included.
const queueSize = "otelcol_exporter_queue_size"

// How often the queues are looked at, and how long the collector may take to tell.
const (
	lookInterval = 200 * time.Millisecond
	answerLimit  = 5 * time.Second
)

// The largest text of metrics that is read, in bytes.
const largestAnswer = 64 << 20

// drainSettings tell what is waited for. The exporter's own shutdown tries each queued batch once, without retries, so whoever wants a
// busy destination to get them lets the collector run until its queues are empty.
type drainSettings struct {
	metrics     string
	least, most time.Duration
	// Exporters whose queues outlive the pod.
	stored map[string]bool
}

// drain waits as its arguments say, and returns what the program exits with. That something is left is no failure: the pod stops anyway.
func drain(arguments []string, output io.Writer) int {
	flags := flag.NewFlagSet(drainCommand, flag.ContinueOnError)
	flags.SetOutput(output)
	metrics := flags.String("metrics", "http://127.0.0.1:8888/metrics", "where the collector beside this program tells its own metrics")
	least := flags.Duration("least", 0, "how long to wait in any case")
	most := flags.Duration("most", 30*time.Second, "how long to wait at most")
	var stored []string
	flags.Func("stored", "a file of the configuration, may be repeated: its queues that have a storage outlive the pod, and are not waited for", func(path string) error {
		stored = append(stored, path)
		return nil
	})
	if err := flags.Parse(arguments); err != nil {
		return 2
	}
	settings := drainSettings{metrics: *metrics, least: *least, most: *most, stored: map[string]bool{}}
	for _, path := range stored {
		text, err := os.ReadFile(path)
		if err == nil {
			err = storedQueues(text, settings.stored)
		}
		if err != nil {
			fmt.Fprintf(output, "%s: every queue in it is waited for: %v\n", drainCommand, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), settings.most)
	defer cancel()
	left, err := settings.wait(ctx)
	switch {
	case err != nil:
		fmt.Fprintf(output, "%s: failed to read the sizes of queues: %v\n", drainCommand, err)
	case left > 0:
		fmt.Fprintf(output, "%s: queues were not empty after %s\n", drainCommand, settings.most)
	}
	return 0
}

// wait returns what is left in the queues: nothing, unless the time was up. Fails when the collector is gone.
func (settings drainSettings) wait(ctx context.Context) (float64, error) {
	begun := time.Now()
	var left float64
	for {
		size, err := settings.look(ctx)
		if ctx.Err() != nil {
			return left, nil
		}
		remaining := settings.least - time.Since(begun)
		switch {
		case err == nil && size > 0:
			left = size
		case err == nil || isGone(err):
			if remaining <= 0 {
				return 0, err
			}
		}
		// One that is too busy to answer has full queues.
		select {
		case <-ctx.Done():
			return left, nil
		case <-time.After(lookInterval):
		}
	}
}

// errNoMetrics is the answer of something that tells no metrics.
var errNoMetrics = errors.New("no metrics")

// isGone tells whether no collector is left that could have something in its queues.
func isGone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, errNoMetrics)
}

// look returns how much is in the queues that do not outlive the pod.
func (settings drainSettings) look(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, settings.metrics, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%w: %s answered %s", errNoMetrics, settings.metrics, answer.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(answer.Body, largestAnswer))
	if err != nil {
		return 0, err
	}
	var size float64
	for _, metric := range families[queueSize].GetMetric() {
		if !settings.stored[exporterOf(metric)] {
			size += metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()
		}
	}
	return size, nil
}

func exporterOf(metric *dto.Metric) string {
	for _, label := range metric.GetLabel() {
		if label.GetName() == "exporter" {
			return label.GetValue()
		}
	}
	return ""
}

// storedQueues adds the exporters of a file of the configuration that keep their queues in a storage. A file holds exporters whole.
func storedQueues(text []byte, stored map[string]bool) error {
	var configuration struct {
		Exporters map[string]struct {
			Queue struct {
				Storage string `yaml:"storage"`
			} `yaml:"sending_queue"`
		} `yaml:"exporters"`
	}
	if err := yaml.Unmarshal(text, &configuration); err != nil {
		return err
	}
	for id, exporter := range configuration.Exporters {
		if exporter.Queue.Storage != "" {
			stored[id] = true
		}
	}
	return nil
}
