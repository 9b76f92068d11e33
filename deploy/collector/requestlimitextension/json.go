package requestlimitextension

// This file: the same for OTLP in JSON. What an object becomes is told by the key before it or before its array; an unknown one counts
// as the largest. Texts are skipped, whatever they hold.

import (
	"fmt"
)

const largestObject = 256

// Bytes in memory of an object after a key.
var costs = map[string]int64{
	"resource": 0, "scope": 0, "status": 0, "positive": 0, "negative": 0,
	"attributes": 80, "filteredAttributes": 144, "metadata": 80, "values": 80,
	"value": 32, "body": 32, "arrayValue": 32, "kvlistValue": 32,
	"entityRefs": 96, "events": 80, "links": 96, "quantileValues": 32, "exemplars": 144,
	"scopeSpans": 128, "scopeLogs": 128, "scopeMetrics": 128,
	"resourceSpans": 144, "resourceLogs": 144, "resourceMetrics": 144,
	"logRecords": 144, "metrics": 112, "spans": 224, "dataPoints": 224,
	"gauge": 32, "sum": 48, "histogram": 48, "exponentialHistogram": 48, "summary": 32,
}

// What an element of an array costs that is no object.
const element = 32

type level struct {
	isArray bool
	cost    int64
}

// estimateJSON is what a request becomes in memory, or an error as soon as that is more than `most`. Text that is no JSON is left to the
// decoder, which refuses it.
func estimateJSON(body []byte, most int64) (int64, error) {
	meter := meter{most: most}
	levels := make([]level, 0, deepest)
	cost := int64(0)
	for at := 0; at < len(body); at++ {
		var added int64
		switch body[at] {
		case '"':
			end := endOfText(body, at+1)
			content := body[at+1 : min(end, len(body))]
			at = end
			inArray := len(levels) > 0 && levels[len(levels)-1].isArray
			if inArray {
				added = element + int64(len(content))
			} else if isKey(body, at+1) {
				known, ok := costs[string(content)]
				if !ok {
					known = largestObject
				}
				cost = known
			} else {
				added = int64(len(content)) + 24
			}
		case '{', '[':
			isArray := body[at] == '['
			if len(levels) > 0 && levels[len(levels)-1].isArray {
				cost = levels[len(levels)-1].cost
			}
			if len(levels) == deepest {
				return 0, fmt.Errorf("%w: values are too deep in each other", errDecodedTooLarge)
			}
			levels = append(levels, level{isArray, cost})
			added = cost
			if isArray {
				added = 24
			}
		case '}', ']':
			if len(levels) > 0 {
				levels = levels[:len(levels)-1]
			}
		case ',':
			if len(levels) > 0 && levels[len(levels)-1].isArray {
				added = element / 2
			}
		}
		if err := meter.add(added); err != nil {
			return 0, err
		}
	}
	return meter.bytes, nil
}

// endOfText is the place of the quote that ends a text.
func endOfText(body []byte, at int) int {
	for ; at < len(body) && body[at] != '"'; at++ {
		if body[at] == '\\' {
			at++
		}
	}
	return at
}

func isKey(body []byte, at int) bool {
	for ; at < len(body); at++ {
		switch body[at] {
		case ' ', '\t', '\n', '\r':
		default:
			return body[at] == ':'
		}
	}
	return false
}
