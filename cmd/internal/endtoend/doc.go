// Package endtoend holds the tests that run the programs as processes, over a real
// broker and real TCP, and kill them. world_test.go is what they share.
package endtoend
