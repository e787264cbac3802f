package journal

import "runtime"

// WaitForLine returns when n writes stand in line.
func (j *Journal) WaitForLine(n int) {
	for {
		j.writer.mu.Lock()
		there := len(j.writer.line)
		j.writer.mu.Unlock()
		if there >= n {
			return
		}
		runtime.Gosched()
	}
}

// WaitForClose returns when no write is let in any more.
func (j *Journal) WaitForClose() {
	for !j.writer.isClosed() {
		runtime.Gosched()
	}
}
