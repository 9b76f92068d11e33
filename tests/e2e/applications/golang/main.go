// Command shipping is an ordinary service that knows nothing of telemetry: it answers, and asks the next one (NEXT).
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

var client = &http.Client{Timeout: 5 * time.Second}

// ask passes the request's context on, as services do that want to end with their caller.
func ask(ctx context.Context, address string) (json.RawMessage, error) {
	if address == "" {
		return json.RawMessage("null"), nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

func answer(writer http.ResponseWriter, value any) {
	writer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(writer).Encode(value); err != nil {
		log.Print(err)
	}
}

func main() {
	log.SetOutput(os.Stdout)
	log.SetFlags(0)
	http.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		next, err := ask(request.Context(), os.Getenv("NEXT"))
		if err != nil {
			next, _ = json.Marshal(map[string]string{"error": err.Error()})
		}
		log.Print("shipping served a request")
		answer(writer, map[string]any{"service": "shipping", "next": next})
	})
	http.HandleFunc("/health", func(writer http.ResponseWriter, _ *http.Request) { answer(writer, struct{}{}) })
	// What the user has asked of the runtime (GOMAXPROCS), and got.
	http.HandleFunc("/options", func(writer http.ResponseWriter, _ *http.Request) {
		answer(writer, map[string]string{"option": fmt.Sprint(runtime.GOMAXPROCS(0))})
	})
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	// The first process of a container has no default for signals.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: ":" + port}
	go func() {
		<-ctx.Done()
		os.Exit(0)
	}()
	log.Printf("shipping listens on %s", port)
	log.Fatal(server.ListenAndServe())
}
