package faults

import (
	"time"

	"sekali/bench/record"
	"sekali/bench/system/cluster"
)

// ClusterCatalogue is every kind of fault of a cluster, in the order of the table. The publishers
// use all nodes, and repeat on the next one what is not acknowledged. At the end all replicas are
// held to each other, event by event. Short is 0 where integration has the same as a test, or
// where it takes too long for one: such a kind is left out then.
func ClusterCatalogue() []Kind {
	killed := func(name, injects string, long int, role ofCluster, atOnce bool) Kind {
		return Kind{Name: name, Injects: injects, Promise: nothingLost, Tells: record.TellsOutages, Long: long, inject: clusterKilled(role, atOnce)}
	}
	stopped := func(name string, short, long int, inject func(s *sitting) error) Kind {
		return Kind{Name: name, Injects: "the log server is stopped, and goes on", Promise: nothingLost, Tells: record.TellsOutages, Short: short, Long: long, inject: inject}
	}
	wrong := func(name, injects string, how func(c *clusterTrial, all *clocks, machine, round int) error) Kind {
		return Kind{Name: name, Injects: injects, Promise: nothingLost, Tells: record.TellsOutages, Long: 2, inject: clockWrong(how)}
	}
	return []Kind{
		killed("SIGKILL of the log leader", "the log server that leads is killed, and started again once every level is acknowledged", 20, logLeader, false),
		killed("SIGKILL of a log follower", "one that does not lead", 10, logFollower, false),
		{Name: "SIGKILL of the server that leads the list of streams", Injects: "it is the log's leader too, or it is not",
			Promise: nothingLost, Tells: record.TellsOutages, Long: 8, inject: listLeaderKilled},
		killed("SIGKILL of an aggregator", "each in turn", 10, oneAggregator, false),
		killed("SIGKILL of the leader's machine", "the log server that leads and the aggregator beside it", 10, leaderMachine, false),
		killed("SIGKILL of everything", "three log servers and three aggregators at one moment, and started again", 8, everything, true),
		{Name: "an upgrade, one after the other", Injects: "each aggregator is stopped (SIGTERM) and started as the program to upgrade to, then each log server is stopped and started",
			Promise: nothingLost, Tells: record.TellsOutages, Short: 1, Long: 1, inject: upgraded},
		stopped("SIGSTOP of the log leader for 3 s", 1, 3, clusterPaused(3*time.Second)),
		stopped("SIGSTOP of the log leader for 15 s", 0, 3, clusterStopped(15*time.Second)),
		stopped("SIGSTOP of the log leader for 40 s", 0, 2, clusterStopped(40*time.Second)), // longer than any leader remains one
		{Name: "the leader's machine cut off", Injects: "its wire is down for 25 s: publishers, log servers and aggregators get nothing through",
			Promise: nothingLost, Tells: record.TellsOutages, Long: 3, inject: partitioned(unplug, plugIn)},
		{Name: "the leader's machine flaps", Injects: "its wire is down for 2 s and up for 2 s, six times",
			Promise: nothingLost, Tells: record.TellsOutages, Long: 2, inject: flapping},
		{Name: "the leader's machine is deaf", Injects: "for 25 s it hears nothing of the other machines, which hear it",
			Promise: nothingLost, Tells: record.TellsOutages, Long: 3, inject: partitioned((*cluster.Network).Deaf, (*cluster.Network).Heal)},
		{Name: "the leader's machine and another one estranged", Injects: "for 25 s the two hear nothing of each other, and the third machine hears both",
			Promise: nothingLost, Tells: record.TellsOutages, Long: 3, inject: partitioned((*cluster.Network).Estranged, (*cluster.Network).Heal)},
		{Name: "an aggregator cut off from the log", Injects: "for 25 s what it sends to any log server goes nowhere",
			Promise: nothingLost, Tells: record.TellsOutages, Short: 1, Long: 3, inject: partitioned((*cluster.Network).WithoutLog, (*cluster.Network).Heal)},
		{Name: "power cut of the leader's machine", Injects: "the file system of its log server and its aggregator is shut down without a flush",
			Promise: nothingLost, Tells: record.TellsOutages, Long: 5, inject: clusterPowerCut(false)},
		{Name: "power cut of all machines", Injects: "the same with all three at one moment",
			Promise: nothingLost, Tells: record.TellsOutages, Short: 1, Long: 5, inject: clusterPowerCut(true)},
		{Name: "the disk of a log server is full", Injects: "a foreign file fills the disk of one machine, and is removed",
			Promise: nothingLost, Tells: record.TellsOutages, Long: 3, inject: logDiskFull},
		{Name: "the disks of two log servers are full", Injects: "the same with two machines, the leader's among them; a supervisor starts what ends",
			Promise: nothingLost, Tells: record.TellsOutages, Long: 2, inject: twoDisksFull},
		wrong("a machine's clock is hours off", "the clock of the leader's machine, ahead and behind in turn, for 15 s", clockSet),
		wrong("a machine's clock jumps", "the same clock jumps ahead, behind and back 30 times in 15 s", clockJumping),
		wrong("a machine starts with its clock hours off", "the leader's machine is killed, and started with a clock that is ahead or behind", clockAtStart),
		{Name: "a machine lost for ever", Injects: "the leader of the log and the aggregator beside it lose their disks: what it acknowledged last, while the other aggregators were down, is in the log alone",
			Promise: nothingLost, Short: 1, Long: 5, inject: machineLost(3)},
		{Name: "a machine lost for ever, one copy of the log", Injects: "the same with a log that is on one server alone",
			Promise: control, Short: 1, Long: 3, inject: machineLost(1)},
		{Name: "a flipped bit in a log server's files", Injects: "in a message that the leader or a follower has, or in its part of the servers' own log, while it is down",
			Promise: nothingLost, Tells: record.TellsOutages, Short: 1, Long: 4, inject: logFlipped},
		{Name: "a log folder wiped", Injects: "a log server loses its folder and comes back with -replace",
			Promise: nothingLost, Tells: record.TellsOutages, Long: 3, inject: logWiped},
		{Name: "the stream deleted and made anew", Injects: "by an operator; all halt, and a new epoch begins with the furthest replica",
			Promise: nothingLost, Long: 3, inject: streamLost},
		{Name: "the log purged", Injects: "by an operator, while one node does not read it; that one halts, and is made from another's copy",
			Promise: nothingLost, Long: 3, inject: purged},
		{Name: "a data folder copied", Injects: "one node gets another's folder, journal included",
			Promise: nothingLost, Long: 3, inject: folderCopied},
		{Name: "a replica with another seq", Injects: "the last seq of one replica is moved on while it is stopped",
			Promise: caught, Long: 2, inject: oddReplica("UPDATE state SET last_seq = last_seq + 1")},
		{Name: "a position saved apart from its effects", Injects: "the position of a killed replica is moved on by 3, as one is that was saved before what it stands for",
			Promise: caught, Short: 1, Long: 2, inject: oddReplica("UPDATE cluster SET position = position + 3")},
		{Name: "a trigger on one replica", Injects: "a trigger refuses what the others store",
			Promise: caught, Long: 2, inject: triggered},
		{Name: "a log that discards old messages", Injects: "the stream is set to discard: old",
			Promise: caught, Long: 1, inject: discardsOld},
		{Name: "log servers that sync now and then", Injects: "as JetStream does by default",
			Promise: caught, Long: 1, inject: lazySync},
	}
}
