// Program odigos-gateway is the collector of gateways.
package main

import "odigos.test/tools/collector/program"

func main() { program.Main(components) }
