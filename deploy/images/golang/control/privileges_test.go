package control

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// inChild names the process that gives the capability back, which cannot be undone.
const inChild = "ODIGOS_TEST_DROPS_ADMIN"

func TestAdminIsGivenBackInEveryThreadAndNothingElse(t *testing.T) {
	if os.Getenv(inChild) == "" {
		if !IsAdmin() {
			t.Skip("this user has no CAP_SYS_ADMIN")
		}
		child := exec.Command(os.Args[0], "-test.run="+t.Name(), "-test.v")
		child.Env = append(os.Environ(), inChild+"=1")
		if output, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		return
	}
	// Threads that exist already: the kernel keeps capabilities for each.
	release, started := make(chan struct{}), make(chan struct{})
	defer close(release)
	for range 8 {
		go func() {
			runtime.LockOSThread()
			started <- struct{}{}
			<-release
		}()
	}
	for range 8 {
		<-started
	}
	before := effective(t)
	if err := DropAdmin(); err != nil {
		t.Fatal(err)
	}
	if IsAdmin() {
		t.Error("this thread has it still")
	}
	after := effective(t)
	if len(before) != 1 || len(after) != 1 || before[0]&^(1<<21) != after[0] {
		t.Errorf("before %x, after %x", before, after)
	}
}

// effective are the different sets of the threads of this process.
func effective(t *testing.T) []uint64 {
	t.Helper()
	paths, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(paths) < 8 {
		t.Fatalf("threads: %v %v", paths, err)
	}
	seen := map[string]bool{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(content), "\n") {
			if set, found := strings.CutPrefix(line, "CapEff:\t"); found {
				seen[set] = true
			}
		}
	}
	var sets []uint64
	for set := range seen {
		number, err := strconv.ParseUint(set, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, number)
	}
	return sets
}
