// Package metricsendpointextension serves the metrics of this collector to whoever shows a certificate.
//
// A collector's own metrics, and what its prometheus exporters serve, are read without TLS and without any question who reads. They
// listen on loopback; this extension is the one place where they leave the pod. It passes on what they write, unchanged: names,
// labels and types are those of the sources. It never computes a metric.
package metricsendpointextension

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/extension"
)

// Type is the name of the extension in configurations.
var Type = component.MustNewType("metrics_endpoint")

// Config is what an administrator may set.
type Config struct {
	// Endpoint is the address to listen on.
	Endpoint string `mapstructure:"endpoint"`
	// TLS must name the authority of readers.
	TLS configtls.ServerConfig `mapstructure:"tls"`
	// Readers are the names of which a reader's certificate has one.
	Readers []string `mapstructure:"readers"`
	// Sources are addresses on loopback, in the order in which they are written. The first one has to answer.
	Sources []string `mapstructure:"sources"`
}

// Validate refuses settings by which anybody could read, or anything be read.
func (config *Config) Validate() error {
	switch {
	case config.Endpoint == "":
		return errors.New("endpoint must be set")
	case config.TLS.ClientCAFile == "":
		return errors.New("tls.client_ca_file must be set: without it, anybody reads the metrics")
	case len(config.Readers) == 0:
		return errors.New("readers must hold at least one name")
	case len(config.Sources) == 0:
		return errors.New("sources must hold at least one address")
	}
	for _, source := range config.Sources {
		address, err := url.Parse(source)
		if err != nil {
			return fmt.Errorf("source %q: %w", source, err)
		}
		host := net.ParseIP(address.Hostname())
		isLoopback := address.Hostname() == "localhost" || (host != nil && host.IsLoopback())
		if address.Scheme != "http" || !isLoopback {
			return fmt.Errorf("source %q is not an http address on loopback", source)
		}
	}
	return nil
}

// NewFactory creates the extension.
func NewFactory() extension.Factory {
	defaults := func() component.Config {
		return &Config{TLS: configtls.NewDefaultServerConfig()}
	}
	create := func(_ context.Context, settings extension.Settings, config component.Config) (extension.Extension, error) {
		return newServer(config.(*Config), settings.Logger), nil
	}
	return extension.NewFactory(Type, defaults, create, component.StabilityLevelStable)
}
