// Package control is the part of the program that knows nothing of BPF: what the node agent asks for, which processes are
// followed, and what is told about them. It can be tested anywhere.
package control

// This file: what goes over the socket, one JSON value a line.

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Target is one process that shall be instrumented, and what its telemetry shall say.
type Target struct {
	// Pid and Started name the process: numbers are given out again, the time of its start tells two of them apart.
	Pid int `json:"pid"`
	// Started is field 22 of /proc/PID/stat: clock ticks after the machine's start.
	Started uint64 `json:"started"`
	// Service is the service's name, unless the attributes have one.
	Service string `json:"service"`
	// Attributes of the resource; they win over everything else.
	Attributes map[string]string `json:"attributes"`
	// Endpoint is the base address of an OTLP/HTTP receiver.
	Endpoint string `json:"endpoint"`
	// Sampler and SamplerArgument are named as in OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG.
	Sampler         string `json:"sampler"`
	SamplerArgument string `json:"samplerArgument"`
}

// Request is the whole state that is wanted, every time.
type Request struct {
	Targets []Target `json:"targets"`
}

// State of a target, by the names that the product shows.
type State string

// The states. A target that is no longer followed has none.
const (
	Starting           State = "Starting"
	LoadedSuccessfully State = "LoadedSuccessfully"
	FailedToInitialize State = "FailedToInitialize"
	FailedToLoad       State = "FailedToLoad"
	FailedToRun        State = "FailedToRun"
)

// Report is one line back.
type Report struct {
	Pid     int    `json:"pid"`
	Started uint64 `json:"started"`
	State   State  `json:"state"`
	Message string `json:"message"`
}

// longestMessage in characters: messages are for people, and travel further in the cluster.
const longestMessage = 1000

// parse reads a request. A target that names no process would never be found again, so it is refused.
func parse(line []byte) (Request, error) {
	// Without the list this is no request: an empty object shall not detach everything.
	var asked struct {
		Targets *[]Target `json:"targets"`
	}
	if err := json.Unmarshal(line, &asked); err != nil {
		return Request{}, err
	}
	if asked.Targets == nil {
		return Request{}, fmt.Errorf("the request has no list of targets")
	}
	for _, target := range *asked.Targets {
		if target.Pid <= 0 || target.Started == 0 {
			return Request{}, fmt.Errorf("a target names no process: pid %d started %d", target.Pid, target.Started)
		}
	}
	return Request{Targets: *asked.Targets}, nil
}

// short makes a message of one line and bounded length.
func short(message string) string {
	message = strings.Join(strings.Fields(message), " ")
	if characters := []rune(message); len(characters) > longestMessage {
		return string(characters[:longestMessage-1]) + "…"
	}
	return message
}
