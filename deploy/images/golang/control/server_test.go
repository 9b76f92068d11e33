package control

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func started(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "folder", "go.sock")
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	supervisor := New(newFake(), always, Usual(), log)
	go func() { _ = NewServer(supervisor, log).Serve(listener) }()
	t.Cleanup(func() { _ = listener.Close() })
	return path
}

func connected(t *testing.T, path string) (net.Conn, *bufio.Reader) {
	t.Helper()
	connection, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	_ = connection.SetReadDeadline(time.Now().Add(10 * time.Second))
	return connection, bufio.NewReader(connection)
}

func heard(t *testing.T, reader *bufio.Reader, want string) {
	t.Helper()
	line, err := reader.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		t.Fatalf("heard %q %v, wanted %q", line, err, want)
	}
}

func TestTheNewestRequestCountsAndNoConnectionMatters(t *testing.T) {
	path := started(t)
	gone, goneReader := connected(t, path)
	fmt.Fprintln(gone, `{"targets":[{"pid":7,"started":1,"service":"foreign"}]}`)
	heard(t, goneReader, `{"pid":7,"started":1,"state":"Starting","message":""}`)
	failed := `{"pid":7,"started":1,"state":"FailedToInitialize","message":"no Go"}`
	heard(t, goneReader, failed)
	_ = gone.Close()

	older, olderReader := connected(t, path)
	heard(t, olderReader, failed)
	newer, newerReader := connected(t, path)
	heard(t, newerReader, failed)
	// Nonsense does no harm, and a long line is read.
	fmt.Fprintln(newer, "nonsense")
	fmt.Fprintf(newer, `{"targets":[{"pid":8,"started":1,"service":"foreign","endpoint":"%s"}]}`+"\n", strings.Repeat("a", 3<<20))
	heard(t, newerReader, `{"pid":8,"started":1,"state":"Starting","message":""}`)
	heard(t, newerReader, `{"pid":8,"started":1,"state":"FailedToInitialize","message":"no Go"}`)
	// Said by the older one while the newer one is there, so it changes nothing.
	fmt.Fprintln(older, `{"targets":[]}`)
	time.Sleep(50 * time.Millisecond)
	_, reader := connected(t, path)
	heard(t, reader, `{"pid":8,"started":1,"state":"FailedToInitialize","message":"no Go"}`)
}

func TestASocketIsTakenOverOnlyWhenNobodyListens(t *testing.T) {
	path := started(t)
	if found, err := os.Stat(path); err != nil || found.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", found.Mode(), err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("two listen")
	}
	stale := filepath.Join(t.TempDir(), "go.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	listener, err := Listen(stale)
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil {
		t.Error("a file is no socket")
	}
}
