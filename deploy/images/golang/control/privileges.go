package control

// This file: the one privilege that the program gives back where it is not needed.

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// IsAdmin tells whether this process has CAP_SYS_ADMIN.
func IsAdmin() bool {
	_, sets, err := capabilities()
	return err == nil && sets[unix.CAP_SYS_ADMIN/32].Effective&(1<<(unix.CAP_SYS_ADMIN%32)) != 0
}

// DropAdmin gives CAP_SYS_ADMIN back, in every thread and for good.
func DropAdmin() error {
	header, sets, err := capabilities()
	if err != nil {
		return err
	}
	for _, set := range []*uint32{
		&sets[unix.CAP_SYS_ADMIN/32].Effective, &sets[unix.CAP_SYS_ADMIN/32].Permitted, &sets[unix.CAP_SYS_ADMIN/32].Inheritable,
	} {
		*set &^= 1 << (unix.CAP_SYS_ADMIN % 32)
	}
	_, _, number := syscall.AllThreadsSyscall(
		unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0)
	if number != 0 {
		return fmt.Errorf("capset: %w", number)
	}
	return nil
}

func capabilities() (unix.CapUserHeader, [2]unix.CapUserData, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	err := unix.Capget(&header, &sets[0])
	return header, sets, err
}
