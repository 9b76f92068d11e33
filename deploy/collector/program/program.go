// Package program is what every collector of this repository shares: it runs a list of components.
package program

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"

	// The images bring no file with the authorities that backends on the internet are certified by; these, of Mozilla's programme, count
	// where the system has none.
	_ "golang.org/x/crypto/x509roots/fallback"
)

// Release of the collector that the components belong to.
const release = "0.158.0"

// Module is a component and the Go package that it comes from.
type Module[F component.Factory] struct {
	Factory F
	Path    string
}

// Components are those of one program.
type Components struct {
	Extensions []Module[extension.Factory]
	Receivers  []Module[receiver.Factory]
	Processors []Module[processor.Factory]
	Connectors []Module[connector.Factory]
	Exporters  []Module[exporter.Factory]
}

// Main runs a collector that reads its configuration from files and variables, and by `further` providers; with `drain` as its first
// argument it waits for the queues of one that runs beside it.
func Main(components Components, further ...confmap.ProviderFactory) {
	if len(os.Args) > 1 && os.Args[1] == drainCommand {
		os.Exit(drain(os.Args[2:], os.Stderr))
	}
	providers := append([]confmap.ProviderFactory{
		envprovider.NewFactory(), fileprovider.NewFactory(), yamlprovider.NewFactory(),
	}, further...)
	settings := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{
			Command:     "odigos-collector",
			Description: "OpenTelemetry Collector with the components that Odigos renders for",
			Version:     release,
		},
		Factories: components.factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{ProviderFactories: providers},
		},
	}
	// The command writes its error itself.
	if err := otelcol.NewCommand(settings).Execute(); err != nil {
		os.Exit(1)
	}
}

func (components Components) factories() (factories otelcol.Factories, err error) {
	factories.Telemetry = otelconftelemetry.NewFactory()
	versions := versions()
	if factories.Extensions, factories.ExtensionModules, err = assemble(components.Extensions, versions); err != nil {
		return otelcol.Factories{}, err
	}
	if factories.Receivers, factories.ReceiverModules, err = assemble(components.Receivers, versions); err != nil {
		return otelcol.Factories{}, err
	}
	if factories.Processors, factories.ProcessorModules, err = assemble(components.Processors, versions); err != nil {
		return otelcol.Factories{}, err
	}
	if factories.Connectors, factories.ConnectorModules, err = assemble(components.Connectors, versions); err != nil {
		return otelcol.Factories{}, err
	}
	if factories.Exporters, factories.ExporterModules, err = assemble(components.Exporters, versions); err != nil {
		return otelcol.Factories{}, err
	}
	return factories, nil
}

// assemble returns the factories by type, and by each of their types, older ones too, what they come from.
func assemble[F component.Factory](list []Module[F], versions map[string]string) (map[component.Type]F, map[component.Type]string, error) {
	all, modules := make([]F, 0, len(list)), map[component.Type]string{}
	for _, one := range list {
		all = append(all, one.Factory)
		module := fmt.Sprintf("%s %s", one.Path, versionOf(one.Path, versions))
		modules[one.Factory.Type()] = module
		if older, ok := any(one.Factory).(interface{ DeprecatedAlias() component.Type }); ok && older.DeprecatedAlias().String() != "" {
			modules[older.DeprecatedAlias()] = module
		}
	}
	factories, err := otelcol.MakeFactoryMap(all...)
	return factories, modules, err
}

// versions are those of the modules that the program was built from.
func versions() map[string]string {
	versions := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, module := range info.Deps {
		versions[module.Path] = module.Version
	}
	return versions
}

// versionOf finds the module of a package; what belongs to the program itself has its release.
func versionOf(path string, versions map[string]string) string {
	for prefix := path; prefix != ""; {
		if version, ok := versions[prefix]; ok {
			return version
		}
		at := strings.LastIndexByte(prefix, '/')
		if at < 0 {
			break
		}
		prefix = prefix[:at]
	}
	return "v" + release
}
