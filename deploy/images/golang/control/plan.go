package control

// This file: what has to happen so that what is followed becomes what is wanted.

import "reflect"

// key names a process for good.
type key struct {
	pid     int
	started uint64
}

func keyOf(target Target) key { return key{pid: target.Pid, started: target.Started} }

// plan compares. A target that is wanted differently than it is followed is both stopped and started; a process that has ended
// is stopped although it is wanted.
func plan(known map[key]Target, wanted []Target, runs func(Target) bool) (stop []key, start []Target) {
	stays := make(map[key]bool, len(known))
	seen := make(map[key]bool, len(wanted))
	for _, target := range wanted {
		name := keyOf(target)
		if seen[name] {
			continue
		}
		seen[name] = true
		if !runs(target) {
			continue
		}
		if before, isKnown := known[name]; isKnown && reflect.DeepEqual(before, target) {
			stays[name] = true
			continue
		}
		start = append(start, target)
	}
	for name := range known {
		if !stays[name] {
			stop = append(stop, name)
		}
	}
	return stop, start
}
