package control

// This file: the socket. Whoever may open it (mode 0600) says what is wanted and hears what is known.

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	longestLine = 4 << 20
	// writeTime after which a reader that takes nothing is given up.
	writeTime = 30 * time.Second
	// probeTime for asking whether somebody listens already.
	probeTime = time.Second
)

// Listen makes the socket. One that nobody listens on is left from an earlier process and goes away; one that is in use is an
// error, for two programs would instrument every process twice.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	found, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case found.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("%s is there and no socket", path)
	default:
		if other, err := net.DialTimeout("unix", path, probeTime); err == nil {
			_ = other.Close()
			return nil, fmt.Errorf("%s is in use by another process", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	// The mode is right from the first moment on.
	before := syscall.Umask(0o177)
	listener, err := net.Listen("unix", path)
	syscall.Umask(before)
	return listener, err
}

// Server speaks with those who connect.
type Server struct {
	supervisor *Supervisor
	log        *slog.Logger

	lock sync.Mutex
	last uint64
	// asking has the open connections that have said what is wanted.
	asking map[uint64]bool
}

// NewServer makes a server.
func NewServer(supervisor *Supervisor, log *slog.Logger) *Server {
	return &Server{supervisor: supervisor, log: log, asking: map[uint64]bool{}}
}

// Serve accepts connections until the listener is closed.
func (server *Server) Serve(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Out of files, say: they come back.
			server.log.Error("a connection cannot be accepted", "error", err)
			time.Sleep(time.Second)
			continue
		}
		server.lock.Lock()
		server.last++
		number := server.last
		server.lock.Unlock()
		go server.speak(number, connection)
	}
}

// speak with one connection until it ends. Nothing is let go by its end: who has connected may only be starting again.
func (server *Server) speak(number uint64, connection net.Conn) {
	defer func() { _ = connection.Close() }()
	box := newOutbox()
	server.supervisor.listen(box)
	defer server.supervisor.leave(box)
	defer box.close()
	go func() {
		// The end of writing ends reading too.
		defer func() { _ = connection.Close() }()
		if err := box.write(bounded{connection}); err != nil {
			server.log.Debug("a connection was lost", "error", err)
		}
	}()
	defer server.forget(number)
	lines := bufio.NewScanner(connection)
	lines.Buffer(make([]byte, 0, 64<<10), longestLine)
	for lines.Scan() {
		request, err := parse(lines.Bytes())
		if err != nil {
			server.log.Warn("a request cannot be read", "error", err)
			continue
		}
		server.want(number, request)
	}
	if err := lines.Err(); err != nil && !errors.Is(err, net.ErrClosed) {
		server.log.Warn("a connection has ended", "error", err)
	}
}

// want passes on what the newest connection wants; one that only listens wants nothing.
func (server *Server) want(number uint64, request Request) {
	server.lock.Lock()
	defer server.lock.Unlock()
	for other := range server.asking {
		if other > number {
			server.log.Warn("a request of an older connection is ignored")
			return
		}
	}
	server.asking[number] = true
	server.supervisor.Want(request.Targets)
}

func (server *Server) forget(number uint64) {
	server.lock.Lock()
	defer server.lock.Unlock()
	delete(server.asking, number)
}

// bounded gives each write a time limit.
type bounded struct{ connection net.Conn }

func (writer bounded) Write(content []byte) (int, error) {
	if err := writer.connection.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return writer.connection.Write(content)
}
