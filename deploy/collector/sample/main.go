// Program odigos-sample-collector is the collector with what deploy/samples takes.
package main

import (
	"go.opentelemetry.io/collector/confmap/provider/httpprovider"
	"odigos.test/tools/collector/program"
)

func main() { program.Main(components, httpprovider.NewFactory()) }
