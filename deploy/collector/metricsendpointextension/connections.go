package metricsendpointextension

// This file: how many connections there are. Anybody may open one; only what a reader's certificate has opened is worth keeping.

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// Connections at the same time.
	mostConnections = 64
	// Connections of one address at the same time.
	mostOfAddress = 8
)

// limited is a listener that keeps few connections.
type limited struct {
	net.Listener
	mutex sync.Mutex
	open  map[*connection]struct{}
}

// connection is one that is open.
type connection struct {
	net.Conn
	of      *limited
	address string
	since   time.Time
	// It has shown a certificate of the authority and asked for something.
	asked bool
	once  sync.Once
}

func limit(listener net.Listener) *limited {
	return &limited{Listener: listener, open: map[*connection]struct{}{}}
}

// Accept closes what is too much: of an address that has enough the new one, else the one that has waited longest without asking.
func (listener *limited) Accept() (net.Conn, error) {
	for {
		accepted, err := listener.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address, _, err := net.SplitHostPort(accepted.RemoteAddr().String())
		if err != nil {
			address = accepted.RemoteAddr().String()
		}
		one := &connection{Conn: accepted, of: listener, address: address, since: time.Now()}
		if listener.add(one) {
			return one, nil
		}
		_ = accepted.Close()
	}
}

func (listener *limited) add(one *connection) bool {
	listener.mutex.Lock()
	ofAddress := 0
	var silent *connection
	for other := range listener.open {
		if other.address == one.address {
			ofAddress++
		}
		if !other.asked && (silent == nil || other.since.Before(silent.since)) {
			silent = other
		}
	}
	isFull := len(listener.open) >= mostConnections
	if ofAddress >= mostOfAddress || (isFull && silent == nil) {
		listener.mutex.Unlock()
		return false
	}
	listener.open[one] = struct{}{}
	listener.mutex.Unlock()
	if isFull {
		_ = silent.Close()
	}
	return true
}

// Close forgets the connection.
func (one *connection) Close() error {
	one.once.Do(func() {
		one.of.mutex.Lock()
		delete(one.of.open, one)
		one.of.mutex.Unlock()
	})
	return one.Conn.Close()
}

// heard is told by the server that a handshake is over and a request comes.
func heard(conn net.Conn, state http.ConnState) {
	secured, isSecured := conn.(*tls.Conn)
	if !isSecured || state != http.StateActive {
		return
	}
	if one, isOurs := secured.NetConn().(*connection); isOurs {
		one.of.mutex.Lock()
		one.asked = true
		one.of.mutex.Unlock()
	}
}
