package control

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a driver whose processes do as their service's name says.
type fake struct {
	lock      sync.Mutex
	prepared  map[string]int
	closed    map[string]int
	loading   int
	mostLoads int
}

type fakeInstrumentation struct {
	driver  *fake
	service string
}

func newFake() *fake { return &fake{prepared: map[string]int{}, closed: map[string]int{}} }

func (driver *fake) Prepare(_ context.Context, target Target) (Instrumentation, error) {
	driver.lock.Lock()
	defer driver.lock.Unlock()
	driver.prepared[target.Service]++
	if target.Service == "foreign" {
		return nil, errors.New("no Go")
	}
	return fakeInstrumentation{driver, target.Service}, nil
}

func (one fakeInstrumentation) Load(context.Context) (string, error) {
	one.driver.lock.Lock()
	one.driver.loading++
	one.driver.mostLoads = max(one.driver.mostLoads, one.driver.loading)
	one.driver.lock.Unlock()
	time.Sleep(time.Second)
	one.driver.lock.Lock()
	one.driver.loading--
	one.driver.lock.Unlock()
	switch one.service {
	case "unloadable":
		return "", errors.New("the verifier says no")
	case "slow":
		time.Sleep(time.Hour)
	}
	return "a note", nil
}

func (one fakeInstrumentation) Run(ctx context.Context) error {
	switch one.service {
	case "unlucky":
		return errors.New("lost")
	case "panicking":
		panic("oh")
	}
	<-ctx.Done()
	return nil
}

func (one fakeInstrumentation) Close(context.Context) error {
	one.driver.lock.Lock()
	defer one.driver.lock.Unlock()
	one.driver.closed[one.service]++
	return nil
}

func (driver *fake) counts(service string) (prepared, closed int) {
	driver.lock.Lock()
	defer driver.lock.Unlock()
	return driver.prepared[service], driver.closed[service]
}

func quietly(driver Driver, runs func(Target) bool, settings Settings) *Supervisor {
	return New(driver, runs, settings, slog.New(slog.DiscardHandler))
}

func always(Target) bool { return true }

func target(pid int, service string) Target { return Target{Pid: pid, Started: 1, Service: service} }

// state of a target by its number; empty when it is not known.
func (supervisor *Supervisor) state(pid int) State {
	supervisor.lock.Lock()
	defer supervisor.lock.Unlock()
	if one := supervisor.known[key{pid: pid, started: 1}]; one != nil {
		return one.report.State
	}
	return ""
}

func expect(t *testing.T, supervisor *Supervisor, pid int, want State) {
	t.Helper()
	synctest.Wait()
	if found := supervisor.state(pid); found != want {
		t.Errorf("%d is %q, wanted %q", pid, found, want)
	}
}

func end(t *testing.T, supervisor *Supervisor) {
	t.Helper()
	if err := supervisor.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestWhatIsWantedIsFollowedAndLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := newFake()
		supervisor := quietly(driver, always, Usual())
		wanted := []Target{target(1, "a"), target(2, "b"), target(3, "c")}
		supervisor.Want(wanted)
		expect(t, supervisor, 1, Starting)
		time.Sleep(3 * time.Second)
		expect(t, supervisor, 3, LoadedSuccessfully)
		if driver.mostLoads != 2 {
			t.Errorf("%d loads at once", driver.mostLoads)
		}
		supervisor.Want(wanted)
		supervisor.Want(wanted[:1])
		expect(t, supervisor, 1, LoadedSuccessfully)
		expect(t, supervisor, 2, "")
		if prepared, closed := driver.counts("b"); prepared != 1 || closed != 1 {
			t.Errorf("b was attached %d times and detached %d times", prepared, closed)
		}
		// Wanted differently: again, and after the first has gone.
		supervisor.Want([]Target{{Pid: 1, Started: 1, Service: "a", Endpoint: "elsewhere"}})
		time.Sleep(2 * time.Second)
		expect(t, supervisor, 1, LoadedSuccessfully)
		if prepared, closed := driver.counts("a"); prepared != 2 || closed != 1 {
			t.Errorf("a was attached %d times and detached %d times", prepared, closed)
		}
		end(t, supervisor)
		if _, closed := driver.counts("a"); closed != 2 {
			t.Errorf("a was detached %d times", closed)
		}
	})
}

func TestEachFailureHasItsStateAndOnlyRunningIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := newFake()
		supervisor := quietly(driver, always, Usual())
		failing := map[string]State{
			"foreign": FailedToInitialize, "unloadable": FailedToLoad, "slow": FailedToLoad,
			"unlucky": FailedToRun, "panicking": FailedToRun, "well": LoadedSuccessfully,
		}
		var wanted []Target
		for service := range failing {
			wanted = append(wanted, target(len(wanted)+1, service))
		}
		supervisor.Want(wanted)
		for range 200 {
			time.Sleep(2 * time.Second)
			supervisor.Look()
			supervisor.Want(wanted)
		}
		attempts := map[string]int{"unlucky": 3, "panicking": 3}
		for _, one := range wanted {
			expect(t, supervisor, one.Pid, failing[one.Service])
			if prepared, _ := driver.counts(one.Service); prepared != max(attempts[one.Service], 1) {
				t.Errorf("%s was tried %d times", one.Service, prepared)
			}
		}
		// Nobody waits for the slow one any more, but it is still closed.
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if _, closed := driver.counts("slow"); closed != 1 {
			t.Errorf("slow was closed %d times", closed)
		}
		end(t, supervisor)
	})
}

func TestProcessesThatEndAreForgottenAndThereIsRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := map[int]bool{}
		settings := Usual()
		settings.Most = 2
		supervisor := quietly(newFake(), func(one Target) bool { return !ended[one.Pid] }, settings)
		supervisor.Want([]Target{target(1, "a"), target(2, "b"), target(3, "c")})
		time.Sleep(2 * time.Second)
		expect(t, supervisor, 3, FailedToInitialize)
		box := newOutbox()
		supervisor.listen(box)
		if len(box.held) != 3 || !strings.Contains(box.held[2].Message, "no more than 2") {
			t.Errorf("the whole state is told first: %v", box.held)
		}
		ended[1] = true
		supervisor.Look()
		time.Sleep(2 * time.Second)
		expect(t, supervisor, 1, "")
		expect(t, supervisor, 3, LoadedSuccessfully)
		if len(box.held) != 5 || box.held[4].Message != "a note" {
			t.Errorf("then each change: %v", box.held)
		}
		end(t, supervisor)
	})
}
