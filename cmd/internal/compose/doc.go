// Package compose holds compose.yml and the Dockerfile to the programs that they run, as far
// as that goes without a container engine: its tests read both files, and run each command
// line and health check as a process on this machine, on real servers where there are some.
package compose
