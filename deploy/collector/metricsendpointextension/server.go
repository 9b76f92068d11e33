package metricsendpointextension

// This file: who may read, and when.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"
)

const (
	path = "/metrics"
	// How long a handshake, and the header of a request, may take.
	patience = 10 * time.Second
	// How long an answer may take.
	longestAnswer = 30 * time.Second
	// How long a connection may be idle; readers come every few seconds.
	idle = time.Minute
	// Answers at the same time.
	atOnce = 4
)

type server struct {
	config *Config
	logger *zap.Logger
	scrape *scraper
	turns  chan struct{}
	http   *http.Server
	ended  chan struct{}
}

var _ component.Component = (*server)(nil)

func newServer(config *Config, logger *zap.Logger) *server {
	return &server{
		config: config,
		logger: logger,
		scrape: newScraper(config.Sources, logger),
		turns:  make(chan struct{}, atOnce),
		ended:  make(chan struct{}),
	}
}

// Start listens; what is read does not exist yet then, so the first answers may say that it is not there.
func (server *server) Start(ctx context.Context, _ component.Host) error {
	settings, err := server.config.TLS.LoadTLSConfig(ctx)
	if err != nil {
		return fmt.Errorf("failed to load the certificates of the metrics endpoint: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", server.config.Endpoint)
	if err != nil {
		return fmt.Errorf("failed to listen on %s: %w", server.config.Endpoint, err)
	}
	// Whoever fails in a handshake would fill the log otherwise.
	log, err := zap.NewStdLogAt(server.logger, zap.DebugLevel)
	if err != nil {
		return err
	}
	settings.NextProtos = []string{"http/1.1"}
	server.http = &http.Server{
		Handler:           server,
		ReadHeaderTimeout: patience,
		ReadTimeout:       patience,
		WriteTimeout:      longestAnswer,
		IdleTimeout:       idle,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log,
		ConnState:         heard,
		// One answer on a connection at a time.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	go func() {
		defer close(server.ended)
		if err := server.http.Serve(tls.NewListener(limit(listener), settings)); !errors.Is(err, http.ErrServerClosed) {
			server.logger.Error("the metrics endpoint ended", zap.Error(err))
		}
	}()
	return nil
}

// Shutdown lets answers end.
func (server *server) Shutdown(ctx context.Context) error {
	if server.http == nil {
		return nil
	}
	err := server.http.Shutdown(ctx)
	<-server.ended
	return err
}

func (server *server) ServeHTTP(answer http.ResponseWriter, asked *http.Request) {
	if !server.isReader(asked.TLS) {
		http.Error(answer, "the certificate is not one of a reader of metrics", http.StatusForbidden)
		return
	}
	if asked.URL.Path != path {
		http.NotFound(answer, asked)
		return
	}
	if asked.Method != http.MethodGet {
		http.Error(answer, "metrics are read with GET", http.StatusMethodNotAllowed)
		return
	}
	select {
	case server.turns <- struct{}{}:
		defer func() { <-server.turns }()
	default:
		http.Error(answer, "too many readers at once", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(asked.Context(), longestAnswer)
	defer cancel()
	server.scrape.write(ctx, answer)
}

// isReader says whether a certificate, which the authority has signed, is one of those that may read.
func (server *server) isReader(state *tls.ConnectionState) bool {
	if state == nil || len(state.VerifiedChains) == 0 {
		return false
	}
	return slices.ContainsFunc(state.PeerCertificates[0].DNSNames, func(name string) bool {
		return slices.Contains(server.config.Readers, name)
	})
}
