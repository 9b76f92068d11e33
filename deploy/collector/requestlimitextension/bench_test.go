package requestlimitextension

import "testing"

// What the estimate costs beside the decoder, which reads the same bytes.
func BenchmarkEstimate(b *testing.B) {
	request := spans(2_000)
	body, _ := request.MarshalProto()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := estimate(body, traces, 1<<40); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecoder(b *testing.B) {
	request := spans(2_000)
	body, _ := request.MarshalProto()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := decoders[traces](body); err != nil {
			b.Fatal(err)
		}
	}
}
