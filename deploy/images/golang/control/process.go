package control

// This file: telling processes apart by /proc.

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// startedField is the place of the start time in /proc/PID/stat, counted after the command's closing bracket.
const startedField = 22 - 3

// Processes answers questions about the processes below a proc file system.
type Processes struct {
	// Folder is where the proc file system is.
	Folder string
}

// Runs says whether the very process of the target runs.
func (processes Processes) Runs(target Target) bool {
	content, err := os.ReadFile(filepath.Join(processes.Folder, strconv.Itoa(target.Pid), "stat"))
	if err != nil {
		return false
	}
	started, err := startOf(content)
	return err == nil && started == target.Started
}

// startOf reads the start time from the content of /proc/PID/stat. A process that has ended but was not waited for (Z, X) is
// gone for us: nothing of it can be read.
func startOf(stat []byte) (uint64, error) {
	// The command stands in brackets and may have spaces and brackets itself; what follows has none.
	after := bytes.LastIndexByte(stat, ')')
	if after < 0 {
		return 0, errors.New("no command in brackets")
	}
	fields := bytes.Fields(stat[after+1:])
	if len(fields) <= startedField {
		return 0, errors.New("too few fields")
	}
	if state := fields[0][0]; state == 'Z' || state == 'X' {
		return 0, errors.New("the process has ended")
	}
	return strconv.ParseUint(string(fields[startedField]), 10, 64)
}
