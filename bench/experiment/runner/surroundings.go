package runner

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"sekali/bench/internal/machine"
	"sekali/bench/record"
	"sekali/bench/system/process"
)

// surroundings watches what generator and aggregator have around them: others on the cores that
// they may use, and the CPU quotas of their control groups.
type surroundings struct {
	mu     sync.Mutex
	seen   record.Surroundings
	cores  []int
	groups map[string]*throttle // by folder
}

// throttle is how often a group had been held back when it was first and last looked at.
type throttle struct{ first, last machine.Throttling }

// lookAround looks at the lab and at the aggregator; pid 0: that is a server which is not ours.
func lookAround(pid int) *surroundings {
	s := &surroundings{groups: map[string]*throttle{}}
	if err := s.findCores(pid); err != nil {
		s.seen.OthersUnknown = err.Error()
	}
	s.addGroups(os.Getpid())
	if pid != 0 {
		s.addGroups(pid)
		if folders, err := machine.Groups(pid); err == nil {
			s.seen.AggregatorQuota = machine.Quota(folders)
		}
	}
	return s
}

// findCores finds the cores that either may use, and tries to read them.
func (s *surroundings) findCores(pid int) error {
	lists := make([]string, 0, 2)
	own, err := machine.Affinity(os.Getpid())
	if err != nil {
		return err
	}
	lists = append(lists, own)
	if pid != 0 {
		if s.seen.AggregatorAffinity, err = machine.Affinity(pid); err != nil {
			return err
		}
		lists = append(lists, s.seen.AggregatorAffinity)
	}
	if s.cores, err = machine.Cores(lists...); err != nil {
		return err
	}
	s.seen.Cores, s.seen.CoreCount = machine.List(s.cores), len(s.cores)
	if _, err := process.MachineCPU(s.cores); err != nil {
		return err
	}
	if pid == 0 {
		return errors.New("the server is not ours, and its CPU time not told from that of others")
	}
	return nil
}

// addGroups adds those of a process that were not seen before, and counts from now on.
func (s *surroundings) addGroups(pid int) {
	folders, err := machine.Groups(pid)
	for _, folder := range folders {
		if s.groups[folder] != nil {
			continue
		}
		now, readErr := machine.Throttled(folder)
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		s.groups[folder] = &throttle{now, now}
		s.seen.Groups = append(s.seen.Groups, folder)
	}
	if err != nil && s.seen.ThrottlingUnknown == "" {
		s.seen.ThrottlingUnknown = fmt.Sprintf("process %d: %v", pid, err)
	}
}

// throttled looks at all groups, those of a successor of the aggregator among them, and returns
// what they were held back since they were first seen. A group that has gone counts as it was.
func (s *surroundings) throttled(pid int) machine.Throttling {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pid != 0 {
		if folders, err := machine.Groups(pid); err == nil && slices.ContainsFunc(folders, func(f string) bool { return s.groups[f] == nil }) {
			s.addGroups(pid)
		}
	}
	var sum machine.Throttling
	for folder, group := range s.groups {
		if now, err := machine.Throttled(folder); err == nil {
			group.last = now
		}
		sum.Periods += group.last.Periods - group.first.Periods
		sum.NS += group.last.NS - group.first.NS
	}
	return sum
}

// busy is the time that the cores were busy for whomever; 0: not known.
func (s *surroundings) busy() int64 {
	if s.seen.OthersUnknown != "" && s.seen.CoreCount == 0 {
		return 0
	}
	ns, err := process.MachineCPU(s.cores)
	if err != nil {
		return 0
	}
	return ns
}

// record is what run.json says of them.
func (s *surroundings) record() *record.Surroundings {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	slices.Sort(seen.Groups)
	return &seen
}
