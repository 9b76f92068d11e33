// Package requestlimitextension bounds what a receiver decodes.
//
// A receiver decodes a request before any processor sees it, the memory limiter included, and two bytes of a message can become 150
// in memory. This extension stands before the decoder of OTLP receivers, over gRPC and over HTTP: it says how many requests are read
// at once, how large one may become in memory, and how large all of them may be together. It never reads what a request says.
package requestlimitextension

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
)

// Type is the name of the extension in configurations.
var Type = component.MustNewType("request_limit")

const mebibyte = 1 << 20

// Config is what an administrator may set. Sizes are in MiB.
type Config struct {
	// MaxBodyMiB is the size of a request after decompression; receivers over gRPC have a setting of their own.
	MaxBodyMiB int64 `mapstructure:"max_body_mib"`
	// MaxDecodedMiB is what one request may become in memory.
	MaxDecodedMiB int64 `mapstructure:"max_decoded_mib"`
	// BudgetMiB is what all requests may become in memory that are decoded and not yet handed on.
	BudgetMiB int64 `mapstructure:"budget_mib"`
	// Requests that are read and decompressed at once.
	Requests int `mapstructure:"requests"`
	// RequestsPerSender are those of one address.
	RequestsPerSender int `mapstructure:"requests_per_sender"`
	// Waiting requests that have not been read yet. One address may have a quarter of them.
	Waiting int `mapstructure:"waiting"`
}

// Validate refuses settings with which nothing could pass.
func (config *Config) Validate() error {
	switch {
	case config.MaxBodyMiB < 1 || config.MaxDecodedMiB < config.MaxBodyMiB:
		return errors.New("max_decoded_mib must be at least max_body_mib, and that at least 1")
	case config.BudgetMiB < config.MaxDecodedMiB:
		return errors.New("budget_mib must be at least max_decoded_mib")
	case config.Requests < 1 || config.RequestsPerSender < 1 || config.Waiting < 4:
		return errors.New("requests and requests_per_sender must be at least 1, and waiting at least 4")
	}
	return nil
}

// NewFactory creates the extension.
func NewFactory() extension.Factory {
	defaults := func() component.Config {
		return &Config{MaxBodyMiB: 4, MaxDecodedMiB: 32, BudgetMiB: 64, Requests: 16, RequestsPerSender: 8, Waiting: 1024}
	}
	create := func(_ context.Context, _ extension.Settings, config component.Config) (extension.Extension, error) {
		return newLimits(config.(*Config)), nil
	}
	return extension.NewFactory(Type, defaults, create, component.StabilityLevelStable)
}
