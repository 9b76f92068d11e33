package main

// This file: the instrumentation of one process by the library.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime/debug"
	"sort"
	"strings"
	"time"

	"github.com/cilium/ebpf/btf"
	"go.opentelemetry.io/auto"
	"go.opentelemetry.io/auto/pipeline"
	"go.opentelemetry.io/auto/pipeline/otelsdk"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"

	"odigos.io/go-agent/control"
)

// driver makes instrumentations with the library.
type driver struct {
	library *slog.Logger
	// note is said of every process that is loaded.
	note string
}

// instrumented is one process.
type instrumented struct {
	instrumentation *auto.Instrumentation
	handler         *otelsdk.TraceHandler
	note            string
}

// flushTime that sending the rest may take.
const flushTime = 5 * time.Second

// Prepare implements control.Driver.
func (driver driver) Prepare(ctx context.Context, target control.Target) (control.Instrumentation, error) {
	sampler, err := samplerOf(target)
	if err != nil {
		return nil, err
	}
	address, err := tracesOf(target.Endpoint)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(address))
	if err != nil {
		return nil, fmt.Errorf("the exporter cannot be made: %w", err)
	}
	library := driver.library.With("pid", target.Pid)
	handler, err := otelsdk.NewTraceHandler(
		ctx,
		otelsdk.WithServiceName(target.Service),
		// After the service's name, for the last one counts.
		otelsdk.WithResourceAttributes(attributesOf(target)...),
		otelsdk.WithTraceExporter(exporter),
		otelsdk.WithLogger(library),
	)
	if err != nil {
		return nil, errors.Join(err, exporter.Shutdown(ctx))
	}
	instrumentation, err := auto.NewInstrumentation(
		ctx,
		auto.WithPID(target.Pid),
		auto.WithLogger(library),
		auto.WithSampler(sampler),
		auto.WithHandler(&pipeline.Handler{TraceHandler: handler}),
	)
	if err != nil {
		_ = handler.Shutdown(ctx)
		return nil, forPeople(err)
	}
	return &instrumented{instrumentation: instrumentation, handler: handler, note: driver.note}, nil
}

// Load implements control.Instrumentation.
func (one *instrumented) Load(ctx context.Context) (string, error) {
	err := one.instrumentation.Load(ctx)
	// What was read of the kernel's types and of the program's symbols is large, and loads are rare.
	btf.FlushKernelSpec()
	debug.FreeOSMemory()
	return one.note, forPeople(err)
}

// Run implements control.Instrumentation. At the end what is held is sent before anything is detached: detaching takes seconds of
// the kernel's time for each process, and a program that has to end does not get as many.
func (one *instrumented) Run(ctx context.Context) error {
	attached, detach := context.WithCancel(context.WithoutCancel(ctx))
	defer detach()
	var lost error
	stop := context.AfterFunc(ctx, func() {
		defer detach()
		limited, cancel := context.WithTimeout(attached, flushTime)
		defer cancel()
		lost = one.handler.Shutdown(limited)
	})
	err := one.instrumentation.Run(attached)
	if !stop() {
		<-attached.Done()
		err = errors.Join(err, lost)
	}
	return err
}

// Close implements control.Instrumentation.
func (one *instrumented) Close(ctx context.Context) error {
	return errors.Join(one.instrumentation.Close(), one.handler.Shutdown(ctx))
}

// tracesOf is the address for traces below a base address. The exporter itself would go to its default instead of refusing.
func tracesOf(endpoint string) (string, error) {
	address, err := url.Parse(endpoint)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return "", fmt.Errorf("the endpoint %q is no address of HTTP", endpoint)
	}
	return address.JoinPath("v1", "traces").String(), nil
}

// attributesOf is sorted, so that the same target always gives the same resource.
func attributesOf(target control.Target) []attribute.KeyValue {
	names := make([]string, 0, len(target.Attributes))
	for name := range target.Attributes {
		names = append(names, name)
	}
	sort.Strings(names)
	attributes := make([]attribute.KeyValue, 0, len(names))
	for _, name := range names {
		attributes = append(attributes, attribute.String(name, target.Attributes[name]))
	}
	return attributes
}

// samplerOf is the library's sampler.
func samplerOf(target control.Target) (auto.Sampler, error) {
	wanted, err := control.SamplingOf(target.Sampler, target.SamplerArgument)
	if err != nil {
		return nil, err
	}
	var root auto.Sampler = auto.TraceIDRatioSampler{Fraction: wanted.Fraction}
	switch wanted.Fraction {
	case 0:
		root = auto.AlwaysOffSampler{}
	case 1:
		root = auto.AlwaysOnSampler{}
	}
	if !wanted.ParentBased {
		return root, nil
	}
	return auto.ParentBasedSampler{
		Root:             root,
		RemoteSampled:    auto.AlwaysOnSampler{},
		RemoteNotSampled: auto.AlwaysOffSampler{},
		LocalSampled:     auto.AlwaysOnSampler{},
		LocalNotSampled:  auto.AlwaysOffSampler{},
	}, nil
}

// forPeople says the usual reasons in words of the user's world.
func forPeople(err error) error {
	if err == nil {
		return nil
	}
	const useless, foreign = "the program uses no library that can be instrumented", "the program is none that Go has built"
	const forbidden, young = "the node agent lacks a capability, or the kernel forbids it", "the program's Go or one of its libraries is too new"
	// The first that fits counts.
	for _, reason := range []struct{ found, meaning string }{
		{"no instrumentation for target process", useless},
		{"no functions found", useless},
		{"could not read Go build info", foreign},
		{"not a Go executable", foreign},
		{"failed to find offset", young},
		{"operation not permitted", forbidden},
		{"permission denied", forbidden},
	} {
		if strings.Contains(err.Error(), reason.found) {
			return fmt.Errorf("%s: %w", reason.meaning, err)
		}
	}
	return err
}
