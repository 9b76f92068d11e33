package control

// This file: which processes are followed, and what is known about each.

import (
	"context"
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"time"
)

// Driver makes instrumentations; the real one uses BPF.
type Driver interface {
	// Prepare looks at the process and says whether it can be instrumented at all.
	Prepare(ctx context.Context, target Target) (Instrumentation, error)
}

// Instrumentation of one process.
type Instrumentation interface {
	// Load attaches. What is said beside is worth knowing although all is well.
	Load(ctx context.Context) (string, error)
	// Run passes telemetry on until the context ends; then it detaches.
	Run(ctx context.Context) error
	// Close detaches if that is still to be done, and sends what is still held.
	Close(ctx context.Context) error
}

// Settings are bounds and times, so that tests need not wait.
type Settings struct {
	// Most targets at once: each costs memory of the kernel.
	Most int
	// Loads at the same time: each takes seconds of a processor.
	Loads int
	// LoadTime that a load may take.
	LoadTime time.Duration
	// FlushTime that sending the rest may take.
	FlushTime time.Duration
	// Again says how long to wait before each further attempt to run.
	Again []time.Duration
}

// Usual settings.
func Usual() Settings {
	return Settings{
		Most:      256,
		Loads:     2,
		LoadTime:  time.Minute,
		FlushTime: 5 * time.Second,
		Again:     []time.Duration{10 * time.Second, time.Minute},
	}
}

// Supervisor follows targets.
type Supervisor struct {
	driver   Driver
	runs     func(Target) bool
	settings Settings
	log      *slog.Logger
	slots    chan struct{}
	followed sync.WaitGroup

	lock   sync.Mutex
	wanted []Target
	known  map[key]*entry
	// leaving has the last follower of a number that was stopped: the next one of that number waits for it.
	leaving map[int]chan struct{}
	readers map[*outbox]bool
	closed  bool
}

// entry is one target that is known.
type entry struct {
	target  Target
	report  Report
	stop    context.CancelFunc
	done    chan struct{}
	active  bool
	refused bool
}

// New makes a supervisor; `runs` says whether the process of a target runs.
func New(driver Driver, runs func(Target) bool, settings Settings, log *slog.Logger) *Supervisor {
	return &Supervisor{
		driver:   driver,
		runs:     runs,
		settings: settings,
		log:      log,
		slots:    make(chan struct{}, settings.Loads),
		known:    map[key]*entry{},
		leaving:  map[int]chan struct{}{},
		readers:  map[*outbox]bool{},
	}
}

// Want says what is wanted from now on.
func (supervisor *Supervisor) Want(targets []Target) {
	supervisor.lock.Lock()
	defer supervisor.lock.Unlock()
	supervisor.wanted = targets
	supervisor.settle()
}

// Look finds processes that have ended, and room that has become free.
func (supervisor *Supervisor) Look() {
	supervisor.lock.Lock()
	defer supervisor.lock.Unlock()
	supervisor.settle()
}

// settle makes what is followed what is wanted; the lock is held.
func (supervisor *Supervisor) settle() {
	if supervisor.closed {
		return
	}
	known := make(map[key]Target, len(supervisor.known))
	for name, one := range supervisor.known {
		// Refused ones are asked for anew: there may be room by now.
		if !one.refused {
			known[name] = one.target
		}
	}
	stop, start := plan(known, supervisor.wanted, supervisor.runs)
	for _, name := range stop {
		supervisor.forget(name)
	}
	active := 0
	for _, one := range supervisor.known {
		if one.active {
			active++
		}
	}
	refused := map[key]bool{}
	for _, target := range start {
		if active < supervisor.settings.Most {
			supervisor.follow(target)
			active++
			continue
		}
		refused[keyOf(target)] = true
		supervisor.refuse(target)
	}
	for name, one := range supervisor.known {
		if one.refused && !refused[name] {
			delete(supervisor.known, name)
		}
	}
}

// follow starts to follow a target.
func (supervisor *Supervisor) follow(target Target) {
	ctx, stop := context.WithCancel(context.Background())
	one := &entry{target: target, stop: stop, done: make(chan struct{}), active: true}
	supervisor.known[keyOf(target)] = one
	supervisor.say(one, Starting, "")
	before := supervisor.leaving[target.Pid]
	supervisor.followed.Add(1)
	go func() {
		defer supervisor.followed.Done()
		defer stop()
		supervisor.live(ctx, one, before)
		supervisor.lock.Lock()
		defer supervisor.lock.Unlock()
		one.active = false
		close(one.done)
		if supervisor.leaving[target.Pid] == one.done {
			delete(supervisor.leaving, target.Pid)
		}
	}()
}

// refuse says that there is no room.
func (supervisor *Supervisor) refuse(target Target) {
	if before := supervisor.known[keyOf(target)]; before != nil && before.refused {
		before.target = target
		return
	}
	one := &entry{target: target, stop: func() {}, refused: true}
	supervisor.known[keyOf(target)] = one
	supervisor.say(one, FailedToInitialize, fmt.Sprintf(
		"no more than %d Go processes of a node are instrumented at once", supervisor.settings.Most))
}

// forget stops to follow; the follower detaches and flushes on its own.
func (supervisor *Supervisor) forget(name key) {
	one := supervisor.known[name]
	delete(supervisor.known, name)
	if one.active {
		supervisor.leaving[name.pid] = one.done
	}
	one.stop()
	supervisor.log.Info("process is let go", "pid", name.pid, "service", one.target.Service)
}

// tell changes the state of a target, unless it is no longer followed.
func (supervisor *Supervisor) tell(one *entry, state State, message string) {
	supervisor.lock.Lock()
	defer supervisor.lock.Unlock()
	if supervisor.known[keyOf(one.target)] == one {
		supervisor.say(one, state, message)
	}
}

// say changes a state and tells every reader; the lock is held.
func (supervisor *Supervisor) say(one *entry, state State, message string) {
	one.report = Report{Pid: one.target.Pid, Started: one.target.Started, State: state, Message: short(message)}
	supervisor.log.Info("state", "pid", one.target.Pid, "service", one.target.Service, "state", state, "message", one.report.Message)
	for reader := range supervisor.readers {
		reader.put(one.report)
	}
}

// listen has a reader told everything that is known and each change from here on.
func (supervisor *Supervisor) listen(reader *outbox) {
	supervisor.lock.Lock()
	defer supervisor.lock.Unlock()
	reports := make([]Report, 0, len(supervisor.known))
	for _, one := range supervisor.known {
		reports = append(reports, one.report)
	}
	sort.Slice(reports, func(left, right int) bool { return reports[left].Pid < reports[right].Pid })
	for _, report := range reports {
		reader.put(report)
	}
	supervisor.readers[reader] = true
}

// leave is the end of listen.
func (supervisor *Supervisor) leave(reader *outbox) {
	supervisor.lock.Lock()
	defer supervisor.lock.Unlock()
	delete(supervisor.readers, reader)
}

// Close lets everything go and waits for it until the context ends.
func (supervisor *Supervisor) Close(ctx context.Context) error {
	supervisor.lock.Lock()
	supervisor.closed = true
	for name := range supervisor.known {
		supervisor.forget(name)
	}
	supervisor.lock.Unlock()
	done := make(chan struct{})
	go func() {
		supervisor.followed.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("some processes could not be detached in time: %w", ctx.Err())
	}
}
