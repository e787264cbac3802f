// Package journal is the durable record of what was asked for and what came of it.
package journal
