package control

// This file: samplers by their usual names.

import (
	"fmt"
	"strconv"
	"strings"
)

// Sampling is what a sampler's name and argument mean.
type Sampling struct {
	// ParentBased: who has called decides; Fraction counts for traces that begin here.
	ParentBased bool
	// Fraction of traces: 1 is all of them, 0 is none.
	Fraction float64
}

// SamplingOf reads a sampler. Without a name every trace is taken, unless the caller has decided otherwise.
func SamplingOf(name, argument string) (Sampling, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	root, isParentBased := strings.CutPrefix(name, "parentbased_")
	switch root {
	case "":
		if isParentBased {
			break
		}
		return Sampling{ParentBased: true, Fraction: 1}, nil
	case "always_on":
		return Sampling{ParentBased: isParentBased, Fraction: 1}, nil
	case "always_off":
		return Sampling{ParentBased: isParentBased, Fraction: 0}, nil
	case "traceidratio":
		fraction := 1.0
		if argument = strings.TrimSpace(argument); argument != "" {
			parsed, err := strconv.ParseFloat(argument, 64)
			// Written so that "not a number" fails too.
			if err != nil || !(parsed >= 0 && parsed <= 1) {
				return Sampling{}, fmt.Errorf("the sampler's argument %q is no number from 0 to 1", argument)
			}
			fraction = parsed
		}
		return Sampling{ParentBased: isParentBased, Fraction: fraction}, nil
	}
	return Sampling{}, fmt.Errorf("the sampler %q is not known", name)
}
