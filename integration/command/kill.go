package command

// Kill ends the process at once, as a crash would, and waits until it is gone.
func (p *Process) Kill() {
	p.tb.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.tb.Errorf("command: %v", err)
	}
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = nil
}
