package control

import (
	"strings"
	"testing"
)

func TestPlanComparesWantedWithKnown(t *testing.T) {
	kept := Target{Pid: 1, Started: 10, Attributes: map[string]string{"a": "b"}}
	changed := Target{Pid: 2, Started: 20, Service: "after"}
	fresh := Target{Pid: 3, Started: 31}
	ended := Target{Pid: 4, Started: 40}
	known := map[key]Target{
		keyOf(kept):           {Pid: 1, Started: 10, Attributes: map[string]string{"a": "b"}},
		keyOf(changed):        {Pid: 2, Started: 20, Service: "before"},
		{pid: 3, started: 30}: {Pid: 3, Started: 30},
		keyOf(ended):          ended,
	}
	wanted := []Target{kept, changed, fresh, fresh, ended}
	stop, start := plan(known, wanted, func(target Target) bool { return target.Pid != 4 })
	stopped := map[key]bool{}
	for _, name := range stop {
		stopped[name] = true
	}
	if len(stop) != 3 || !stopped[keyOf(changed)] || !stopped[key{pid: 3, started: 30}] || !stopped[keyOf(ended)] {
		t.Errorf("stopped: %v", stop)
	}
	if len(start) != 2 || start[0].Service != "after" || start[1].Started != 31 {
		t.Errorf("started: %v", start)
	}
}

func TestStartIsFoundBehindAnyCommand(t *testing.T) {
	rest := " S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 5 0 987654 1 2 3\n"
	for _, command := range []string{"(cart)", "(a b)", "(a) S 1 2)", "())"} {
		if started, err := startOf([]byte("12 " + command + rest)); err != nil || started != 987654 {
			t.Errorf("%s: %d %v", command, started, err)
		}
	}
	gone := strings.Replace(rest, " S ", " Z ", 1)
	for _, content := range []string{"", "12 (cart", "12 (cart) S 1 1", "12 (cart)", "12 (cart)" + gone} {
		if _, err := startOf([]byte(content)); err == nil {
			t.Errorf("%q is no running process", content)
		}
	}
}

func TestSamplersByTheirNames(t *testing.T) {
	for _, one := range []struct {
		name, argument string
		want           Sampling
	}{
		{"", "", Sampling{true, 1}},
		{"always_on", "0.2", Sampling{false, 1}},
		{"always_off", "", Sampling{false, 0}},
		{"parentbased_always_on", "", Sampling{true, 1}},
		{" ParentBased_Always_Off ", "", Sampling{true, 0}},
		{"traceidratio", "", Sampling{false, 1}},
		{"traceidratio", " 0.25", Sampling{false, 0.25}},
		{"parentbased_traceidratio", "0.5", Sampling{true, 0.5}},
	} {
		if found, err := SamplingOf(one.name, one.argument); err != nil || found != one.want {
			t.Errorf("%s %s: %v %v", one.name, one.argument, found, err)
		}
	}
	for _, one := range [][2]string{{"jaeger_remote", ""}, {"parentbased_", ""}, {"traceidratio", "1.5"}, {"traceidratio", "nan"}, {"traceidratio", "half"}} {
		if found, err := SamplingOf(one[0], one[1]); err == nil {
			t.Errorf("%s: %v", one, found)
		}
	}
}

func TestRequestsAreReadWhole(t *testing.T) {
	request, err := parse([]byte(`{"targets":[{"pid":1,"started":2,"service":"a","attributes":{"b":"c"},"samplerArgument":"1"}]}`))
	if err != nil || len(request.Targets) != 1 || request.Targets[0].Attributes["b"] != "c" {
		t.Errorf("%v %v", request, err)
	}
	if request, err := parse([]byte(`{"targets":[]}`)); err != nil || len(request.Targets) != 0 {
		t.Errorf("nothing is wanted: %v %v", request, err)
	}
	for _, line := range []string{"", "{}", "[]", `{"targets":null}`, `{"targets":[{"pid":1}]}`, `{"targets":[{"pid":-1,"started":1}]}`} {
		if request, err := parse([]byte(line)); err == nil {
			t.Errorf("%s: %v", line, request)
		}
	}
}

func TestMessagesAreShort(t *testing.T) {
	if found := short("a\n\tb "); found != "a b" {
		t.Errorf("%q", found)
	}
	if found := []rune(short(strings.Repeat("ä", 3000))); len(found) != longestMessage {
		t.Errorf("%d characters", len(found))
	}
}
