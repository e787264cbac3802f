package main

import "testing"

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "1048576": 1 << 20, "16MiB": 16 << 20, "512 KiB": 512 << 10, "2GiB": 2 << 30, "1TiB": 1 << 40,
		"": -1, "-1": -1, "16MB": -1, "16mib": -1, "1.5GiB": -1, "MiB": -1, "9223372036854775807TiB": -1,
	} {
		got, err := parseSize(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}
