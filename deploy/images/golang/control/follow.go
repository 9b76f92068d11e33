package control

// This file: the life of one target, from loading to letting go.

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// live follows a target until it is stopped or has failed for good.
func (supervisor *Supervisor) live(ctx context.Context, one *entry, before chan struct{}) {
	if before != nil {
		// The kernel's objects of a process are named by its number: two sets at once would get into each other's way.
		select {
		case <-before:
		case <-ctx.Done():
			<-before
			return
		}
	}
	for attempt := 0; ; attempt++ {
		state, err := supervisor.attempt(ctx, one)
		if ctx.Err() != nil {
			return
		}
		message := "it has ended without a reason"
		if err != nil {
			message = err.Error()
		}
		supervisor.tell(one, state, message)
		// Only what had worked is worth another attempt: what cannot be loaded will not load the next time either.
		if state != FailedToRun || attempt >= len(supervisor.settings.Again) {
			return
		}
		if !sleep(ctx, supervisor.settings.Again[attempt]) {
			return
		}
		supervisor.tell(one, Starting, "")
	}
}

// attempt loads and runs once, and says what it ended as. One target's panic is no reason for the others to end.
func (supervisor *Supervisor) attempt(ctx context.Context, one *entry) (state State, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			state, err = FailedToRun, supervisor.panicked(one, cause)
		}
	}()
	loaded := supervisor.load(ctx, one)
	if loaded.instrumentation == nil {
		return loaded.state, loaded.err
	}
	defer supervisor.end(one, loaded.instrumentation)
	if ctx.Err() != nil {
		return FailedToRun, ctx.Err()
	}
	supervisor.tell(one, LoadedSuccessfully, loaded.note)
	err = loaded.instrumentation.Run(ctx)
	if err != nil && ctx.Err() != nil {
		supervisor.log.Warn("some telemetry is lost", "pid", one.target.Pid, "error", err)
	}
	return FailedToRun, err
}

// outcome of a load: an instrumentation that runs can begin with, or a state and a reason.
type outcome struct {
	instrumentation Instrumentation
	note            string
	state           State
	err             error
}

// load waits for its turn and loads. Loading cannot be interrupted, so one that takes too long is left to itself.
func (supervisor *Supervisor) load(ctx context.Context, one *entry) outcome {
	select {
	case supervisor.slots <- struct{}{}:
		defer func() { <-supervisor.slots }()
	case <-ctx.Done():
		return outcome{state: FailedToInitialize, err: ctx.Err()}
	}
	// Asked again, for its turn may have come late.
	if ctx.Err() != nil || !supervisor.runs(one.target) {
		return outcome{state: FailedToInitialize, err: errors.New("the process has ended")}
	}
	results, abandoned := make(chan outcome), make(chan struct{})
	go func() {
		// Not the target's own context: an end in the middle of a load has to be waited for anyway.
		limited, cancel := context.WithTimeout(context.Background(), supervisor.settings.LoadTime)
		defer cancel()
		result := supervisor.prepared(limited, one)
		select {
		case results <- result:
		case <-abandoned:
			if result.instrumentation != nil {
				supervisor.end(one, result.instrumentation)
			}
		}
	}()
	limit := time.NewTimer(supervisor.settings.LoadTime)
	defer limit.Stop()
	select {
	case result := <-results:
		return result
	case <-limit.C:
		close(abandoned)
		return outcome{state: FailedToLoad, err: fmt.Errorf("loading took longer than %s", supervisor.settings.LoadTime)}
	}
}

// prepared prepares and loads; what fails is closed.
func (supervisor *Supervisor) prepared(ctx context.Context, one *entry) (result outcome) {
	defer func() {
		if cause := recover(); cause != nil {
			result = outcome{state: FailedToRun, err: supervisor.panicked(one, cause)}
		}
	}()
	instrumentation, err := supervisor.driver.Prepare(ctx, one.target)
	if err != nil {
		return outcome{state: FailedToInitialize, err: err}
	}
	note, err := instrumentation.Load(ctx)
	if err != nil {
		supervisor.end(one, instrumentation)
		return outcome{state: FailedToLoad, err: err}
	}
	return outcome{instrumentation: instrumentation, note: note}
}

// end closes an instrumentation within the time for it.
func (supervisor *Supervisor) end(one *entry, instrumentation Instrumentation) {
	defer func() {
		if cause := recover(); cause != nil {
			_ = supervisor.panicked(one, cause)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), supervisor.settings.FlushTime)
	defer cancel()
	if err := instrumentation.Close(ctx); err != nil {
		supervisor.log.Warn("some telemetry is lost", "pid", one.target.Pid, "error", err)
	}
}

func (supervisor *Supervisor) panicked(one *entry, cause any) error {
	supervisor.log.Error("panic", "pid", one.target.Pid, "cause", cause, "stack", string(debug.Stack()))
	return fmt.Errorf("the instrumentation has panicked: %v", cause)
}

// sleep says whether the time has passed before the context's end.
func sleep(ctx context.Context, long time.Duration) bool {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
