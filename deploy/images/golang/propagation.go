package main

// This file: whether outgoing requests can carry trace context, which BPF has to write into the memory of the process.

import (
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
)

// lockdown is where the kernel says how much it is locked down, if that file system is mounted.
const lockdown = "/sys/kernel/security/lockdown"

// propagation says why no trace context can be written, or nothing when it can. The kernel is asked in the same way as in
// library.patch, so what is said is what is done.
func propagation(writes bool) string {
	if !writes {
		return "outgoing requests carry no trace context: agent.golang.contextPropagation of the chart is false"
	}
	if features.HaveProgramHelper(ebpf.Kprobe, asm.FnProbeWriteUser) == nil {
		return ""
	}
	content, err := os.ReadFile(lockdown)
	return withoutContext(string(content), err == nil)
}

func withoutContext(content string, isKnown bool) string {
	const what = "outgoing requests carry no trace context: "
	if !isKnown {
		return what + "the kernel does not allow it (it is in lockdown mode, or the capability SYS_ADMIN is missing)"
	}
	_, rest, _ := strings.Cut(content, "[")
	mode, _, found := strings.Cut(rest, "]")
	if found && mode != "none" {
		return what + fmt.Sprintf("the kernel is in lockdown mode %s", mode)
	}
	return what + "the capability SYS_ADMIN is missing"
}
