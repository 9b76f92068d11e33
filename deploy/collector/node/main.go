// Program odigos-node-collector is the collector of each node.
package main

import "odigos.test/tools/collector/program"

func main() { program.Main(components) }
