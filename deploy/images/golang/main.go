// Command odigos-go-agent instruments the Go processes of a node by BPF, all of them in one process. The node agent says over a
// socket which processes are wanted and hears how each of them is; see the folder control.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cilium/ebpf/rlimit"
	"go.opentelemetry.io/auto"
	"go.opentelemetry.io/otel"

	"odigos.io/go-agent/control"
)

const (
	// lookEvery is how often processes that have ended are looked for.
	lookEvery = 2 * time.Second
	// endTime is what letting everything go may take: more than flushing takes, less than a pod is given to end. What is not
	// detached by then is detached by the kernel when the program has ended.
	endTime = 10 * time.Second
	// pinned is where the library (as changed by library.patch) pins maps, a folder for each process.
	pinned = "/sys/fs/bpf/odigos-go"
)

func main() {
	socket := flag.String("socket", "/run/odigos/go.sock", "path of the socket to listen on")
	processes := flag.String("proc", "/proc", "where the proc file system of the node's processes is")
	writes := flag.Bool("context-propagation", false, "write the trace into outgoing requests, which keeps CAP_SYS_ADMIN")
	level := slog.LevelInfo
	flag.TextVar(&level, "log-level", level, "debug, info, warn or error")
	flag.Parse()
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	// The library says of itself what goes wrong; its progress is not of interest.
	library := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry cannot be sent", "error", err) }))
	quiet()
	if err := run(*socket, *processes, *writes, log, library); err != nil {
		log.Error("the program ends", "error", err)
		os.Exit(1)
	}
}

// quiet sends what the library prints past its logger into nothing; the loggers have the real stream already, and so has Go for
// its last words.
func quiet() {
	if nothing, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = nothing
	}
}

// restrict keeps CAP_SYS_ADMIN only for what is asked for, and where the kernel attaches nothing without it.
func restrict(writes bool, log *slog.Logger) error {
	if writes {
		return nil
	}
	auto.DisableContextPropagation()
	if !control.IsAdmin() {
		return nil
	}
	if auto.NeedsAdmin() {
		log.Info("the kernel attaches programs for CAP_SYS_ADMIN only (Linux 6.10 and later do without), so it is kept")
		return nil
	}
	return control.DropAdmin()
}

func run(socket, processes string, writes bool, log, library *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	listener, err := control.Listen(socket)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	// Kernels before 5.11 count what BPF takes as locked memory; for newer ones this does nothing.
	if err := rlimit.RemoveMemlock(); err != nil {
		log.Warn("the limit of locked memory stays", "error", err)
	}
	if err := mountMaps(); err != nil {
		log.Warn("the file system of maps is not mounted", "error", err)
	}
	if err := restrict(writes, log); err != nil {
		return fmt.Errorf("CAP_SYS_ADMIN cannot be given back: %w", err)
	}
	// Left by one that was killed. Nobody else is here: the socket is ours. In a container of its own there is no such folder yet, and
	// the file system that it will be mounted over is read-only.
	if err := os.RemoveAll(pinned); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EROFS) {
		log.Warn("maps of an earlier process stay", "error", err)
	}
	note := propagation(writes)
	log.Info("ready", "socket", socket, "admin", control.IsAdmin(), "note", note)
	work := driver{library: library, note: note}
	supervisor := control.New(work, control.Processes{Folder: processes}.Runs, control.Usual(), log)
	served := make(chan error, 1)
	go func() { served <- control.NewServer(supervisor, log).Serve(listener) }()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			supervisor.Look()
		case err := <-served:
			return err
		case <-ctx.Done():
			log.Info("every process is let go")
			_ = listener.Close()
			limited, cancel := context.WithTimeout(context.Background(), endTime)
			defer cancel()
			if err := supervisor.Close(limited); err != nil {
				log.Info("the kernel detaches the rest", "error", err)
			}
			_ = os.RemoveAll(pinned)
			return nil
		}
	}
}
