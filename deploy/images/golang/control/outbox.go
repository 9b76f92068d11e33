package control

// This file: reports on their way to one reader. Whoever follows processes never waits for a reader.

import (
	"encoding/json"
	"io"
	"sync"
)

// mostHeld reports for a reader that does not read; it is given up then and comes back for the whole state.
const mostHeld = 1 << 16

// outbox holds reports until they are written.
type outbox struct {
	lock    sync.Mutex
	changed *sync.Cond
	held    []Report
	closed  bool
}

func newOutbox() *outbox {
	box := &outbox{}
	box.changed = sync.NewCond(&box.lock)
	return box
}

// put adds a report.
func (box *outbox) put(report Report) {
	box.lock.Lock()
	defer box.lock.Unlock()
	if len(box.held) >= mostHeld {
		box.closed = true
	}
	if !box.closed {
		box.held = append(box.held, report)
	}
	box.changed.Signal()
}

// close ends write.
func (box *outbox) close() {
	box.lock.Lock()
	defer box.lock.Unlock()
	box.closed = true
	box.changed.Signal()
}

// write writes reports as they come, until the outbox is closed or writing fails.
func (box *outbox) write(into io.Writer) error {
	encoder := json.NewEncoder(into)
	encoder.SetEscapeHTML(false)
	for {
		box.lock.Lock()
		for len(box.held) == 0 && !box.closed {
			box.changed.Wait()
		}
		reports := box.held
		box.held = nil
		closed := box.closed
		box.lock.Unlock()
		if closed {
			return nil
		}
		for _, report := range reports {
			if err := encoder.Encode(report); err != nil {
				return err
			}
		}
	}
}
