// Package locking keeps who holds what.
package locking
