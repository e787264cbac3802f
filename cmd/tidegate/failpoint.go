//go:build !failpoints

package main

// failpoints are where a test may kill the server. There are none in a usual build.
func failpoints() func(string) { return nil }
