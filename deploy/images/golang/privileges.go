package main

// This file: what the program needs of the node besides processes.

import (
	"os"

	"golang.org/x/sys/unix"
)

// bpfFolder is where the library keeps maps.
const bpfFolder = "/sys/fs/bpf"

// mountMaps mounts the file system of maps in this container, which only CAP_SYS_ADMIN may. The library would do so later.
func mountMaps() error {
	var stat unix.Statfs_t
	if err := unix.Statfs(bpfFolder, &stat); err == nil && stat.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := os.MkdirAll(bpfFolder, 0o755); err != nil {
		return err
	}
	return unix.Mount(bpfFolder, bpfFolder, "bpf", 0, "")
}
