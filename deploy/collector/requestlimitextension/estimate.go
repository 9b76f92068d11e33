package requestlimitextension

// This file: what a message of OTLP in protobuf becomes in memory, told from its bytes without decoding it.
//
// The tables name what is repeated or has a value of its own in memory, with its size there (`TestSizesAreThoseOfTheLibrary`); a slice
// that grows takes up to twice its elements. Other fields cost nothing beyond their message.

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	errDecodedTooLarge = errors.New("the request would take too much memory")
	errMalformed       = errors.New("the request is malformed")
)

// How deep messages may be in each other. Values in values take three levels each.
const deepest = 200

type shape uint8

const (
	number shape = iota
	text
	nested
	// Numbers in a row: one byte each, or eight.
	varints
	doubles
)

type field struct {
	shape shape
	// Bytes in memory for each occurrence.
	cost int64
	of   *message
}

// message has its fields by their numbers.
type message struct {
	name   string
	fields [17]field
	// The field of number 1000, which releases before 1.0 of the protocol had.
	deprecated field
}

const (
	pointer = 16 // a slot of a slice of pointers that has grown
	value   = 2  // how often a slice of values may be there that has grown
)

var (
	keyValue      = &message{name: "KeyValue"}
	anyValue      = &message{name: "AnyValue"}
	arrayValue    = &message{name: "ArrayValue"}
	keyValueList  = &message{name: "KeyValueList"}
	entityRef     = &message{name: "EntityRef"}
	resource      = &message{name: "Resource"}
	scope         = &message{name: "InstrumentationScope"}
	spanEvent     = &message{name: "SpanEvent"}
	spanLink      = &message{name: "SpanLink"}
	spanStatus    = &message{name: "Status"}
	span          = &message{name: "Span"}
	scopeSpans    = &message{name: "ScopeSpans"}
	resourceSpans = &message{name: "ResourceSpans"}
	logRecord     = &message{name: "LogRecord"}
	scopeLogs     = &message{name: "ScopeLogs"}
	resourceLogs  = &message{name: "ResourceLogs"}
	exemplar      = &message{name: "Exemplar"}
	numberPoint   = &message{name: "NumberDataPoint"}
	histogram     = &message{name: "HistogramDataPoint"}
	buckets       = &message{name: "ExponentialHistogramDataPointBuckets"}
	exponential   = &message{name: "ExponentialHistogramDataPoint"}
	quantile      = &message{name: "SummaryDataPointValueAtQuantile"}
	summary       = &message{name: "SummaryDataPoint"}
	gauges        = &message{name: "Gauge"}
	sums          = &message{name: "Sum"}
	histograms    = &message{name: "Histogram"}
	exponentials  = &message{name: "ExponentialHistogram"}
	summaries     = &message{name: "Summary"}
	metric        = &message{name: "Metric"}
	scopeMetrics  = &message{name: "ScopeMetrics"}
	resMetrics    = &message{name: "ResourceMetrics"}
	traces        = &message{name: "ExportTraceServiceRequest"}
	logs          = &message{name: "ExportLogsServiceRequest"}
	metrics       = &message{name: "ExportMetricsServiceRequest"}
)

// Sizes in memory of what is allocated, rounded up as the allocator does.
var sizes = map[*message]int64{
	keyValue: 40, anyValue: 16, arrayValue: 24, keyValueList: 24, entityRef: 80, spanEvent: 64, spanLink: 80, span: 208,
	scopeSpans: 112, resourceSpans: 128, logRecord: 128, scopeLogs: 112, resourceLogs: 128, exemplar: 72, numberPoint: 96,
	histogram: 176, exponential: 208, quantile: 16, summary: 96, gauges: 24, sums: 32, histograms: 32, exponentials: 32,
	summaries: 24, metric: 96, scopeMetrics: 112, resMetrics: 128,
}

func init() {
	texts := func(of *message, numbers ...int) {
		for _, n := range numbers {
			of.fields[n] = field{shape: text}
		}
	}
	// Inside its message: nothing is allocated for it.
	inside := func(of *message) field { return field{shape: nested, of: of} }
	pointers := func(of *message) field { return field{shape: nested, cost: sizes[of] + pointer, of: of} }
	values := func(of *message) field { return field{shape: nested, cost: sizes[of] * value, of: of} }
	// One of several, behind a pointer of its own.
	boxed := func(of *message) field { return field{shape: nested, cost: sizes[of] + 8, of: of} }
	box := func(shape shape, size int64) field { return field{shape: shape, cost: size} }
	attributes := values(keyValue)

	texts(keyValue, 1)
	keyValue.fields[2] = inside(anyValue)
	anyValue.fields = [17]field{
		1: box(text, 16), 2: box(number, 8), 3: box(number, 8), 4: box(number, 8), 5: boxed(arrayValue),
		6: boxed(keyValueList), 7: box(text, 24), 8: box(number, 8),
	}
	arrayValue.fields[1] = values(anyValue)
	keyValueList.fields[1] = attributes

	texts(entityRef, 1, 2)
	entityRef.fields[3], entityRef.fields[4] = box(text, 16*value), box(text, 16*value)
	resource.fields[1], resource.fields[3] = attributes, pointers(entityRef)
	texts(scope, 1, 2)
	scope.fields[3] = attributes

	texts(spanStatus, 2)
	texts(spanEvent, 2)
	spanEvent.fields[3] = attributes
	texts(spanLink, 3)
	spanLink.fields[4] = attributes
	texts(span, 3, 5)
	span.fields[9], span.fields[11], span.fields[13] = attributes, pointers(spanEvent), pointers(spanLink)
	span.fields[15] = inside(spanStatus)

	logRecord.fields[5], logRecord.fields[6] = inside(anyValue), attributes
	texts(logRecord, 3, 12)

	exemplar.fields = [17]field{3: box(number, 8), 6: box(number, 8), 7: attributes}
	numberPoint.fields = [17]field{4: box(number, 8), 5: values(exemplar), 6: box(number, 8), 7: attributes}
	histogram.fields = [17]field{6: box(doubles, 16), 7: box(doubles, 16), 8: values(exemplar), 9: attributes}
	buckets.fields[2] = box(varints, 16)
	exponential.fields = [17]field{1: attributes, 8: inside(buckets), 9: inside(buckets), 11: values(exemplar)}
	summary.fields = [17]field{6: pointers(quantile), 7: attributes}
	for of, points := range map[*message]*message{
		gauges: numberPoint, sums: numberPoint, histograms: histogram, exponentials: exponential, summaries: summary,
	} {
		of.fields[1] = pointers(points)
	}
	texts(metric, 1, 2, 3)
	metric.fields[5], metric.fields[7], metric.fields[9] = boxed(gauges), boxed(sums), boxed(histograms)
	metric.fields[10], metric.fields[11], metric.fields[12] = boxed(exponentials), boxed(summaries), attributes

	for _, one := range []struct{ request, ofResource, ofScope, item *message }{
		{traces, resourceSpans, scopeSpans, span}, {logs, resourceLogs, scopeLogs, logRecord}, {metrics, resMetrics, scopeMetrics, metric},
	} {
		one.request.fields[1] = pointers(one.ofResource)
		one.ofResource.fields[1], one.ofResource.fields[2] = inside(resource), pointers(one.ofScope)
		one.ofResource.deprecated = pointers(one.ofScope)
		one.ofScope.fields[1], one.ofScope.fields[2] = inside(scope), pointers(one.item)
		texts(one.ofResource, 3)
		texts(one.ofScope, 3)
	}
}

// rootOf is the request of that name.
func rootOf(name string) (*message, bool) {
	for _, root := range []*message{traces, logs, metrics} {
		if root.name == name {
			return root, true
		}
	}
	return nil, false
}

func rootOfPath(path string) (*message, bool) {
	root, ok := map[string]*message{"/v1/traces": traces, "/v1/logs": logs, "/v1/metrics": metrics}[path]
	return root, ok
}

// estimate is what a request becomes in memory, or an error as soon as that is more than `most`.
func estimate(body []byte, root *message, most int64) (int64, error) {
	meter := meter{most: most}
	err := meter.walk(body, root, 0)
	return meter.bytes, err
}

type meter struct {
	bytes, most int64
}

func (meter *meter) add(bytes int64) error {
	if meter.bytes += bytes; meter.bytes > meter.most {
		return meter.exceeded()
	}
	return nil
}

func (meter *meter) exceeded() error {
	return fmt.Errorf("%w: more than %d MiB", errDecodedTooLarge, meter.most/mebibyte)
}

// varint reads a number and returns how long it is; most are one byte. The length is not positive where there is none.
func varint(body []byte) (uint64, int) {
	if len(body) > 0 && body[0] < 0x80 {
		return uint64(body[0]), 1
	}
	return binary.Uvarint(body)
}

// What no message has.
var unknown field

func (meter *meter) walk(body []byte, of *message, depth int) error {
	if depth > deepest {
		return fmt.Errorf("%w: values are too deep in each other", errDecodedTooLarge)
	}
	for len(body) > 0 {
		tag, n := varint(body)
		if n <= 0 {
			return errMalformed
		}
		body = body[n:]
		known := &unknown
		switch at := tag >> 3; {
		case at == 0 || at > 1<<29-1:
			return errMalformed
		case at < uint64(len(of.fields)):
			known = &of.fields[at]
		case at == 1000:
			known = &of.deprecated
		}
		size := 0
		switch tag & 7 {
		case 0:
			if _, size = varint(body); size <= 0 {
				return errMalformed
			}
		case 1:
			size = 8
		case 2:
			length, n := varint(body)
			if n <= 0 || length > uint64(len(body)-n) {
				return errMalformed
			}
			content := body[n : n+int(length)]
			body = body[n+int(length):]
			if err := meter.content(content, known, depth); err != nil {
				return err
			}
			continue
		case 5:
			size = 4
		default:
			// Groups, which OTLP never had.
			return errMalformed
		}
		if size > len(body) {
			return errMalformed
		}
		body = body[size:]
		if known.cost != 0 {
			if err := meter.add(known.cost); err != nil {
				return err
			}
		}
	}
	return nil
}

// content adds what a field becomes that is bytes on the wire.
func (meter *meter) content(content []byte, known *field, depth int) error {
	switch known.shape {
	case text:
		if len(content) == 0 {
			return meter.add(known.cost)
		}
		return meter.add(known.cost + int64(len(content)) + 8)
	case nested:
		if err := meter.add(known.cost); err != nil {
			return err
		}
		return meter.walk(content, known.of, depth+1)
	case varints:
		return meter.add(known.cost * int64(len(content)))
	case doubles:
		return meter.add(known.cost * int64(len(content)/8))
	}
	return nil
}
