# English: the source language. One key per sentence; families of words end in the word itself.

## Frame
skip = Skip to content
nav-label = Main menu
nav-overview = Overview
nav-services = Services
nav-alerts = Alerts
nav-incidents = Incidents
nav-operations = Operations
nav-items = Items
nav-score-policies = Score policies
nav-docs = Manual
nav-firing = { $n ->
    [one] { $n } alert firing
   *[other] { $n } alerts firing
}
search-label = Search services
search-hint = Find a service, system or address
sign-in = Sign in
sign-out = Sign out
kill-on = Kill switch is on
pref-language = Language
pref-theme = Theme
pref-zone = Time zone
lang-en = English
lang-zh-CN = 中文
theme-auto = Auto
theme-light = Light
theme-dark = Dark
support = Ask for support
support-page = Help desk
request = Request
as-of = Data as of
refresh = Refresh
refresh-off = off
refresh-s = { $s } s
also = CLI · API
as-cli = As CLI
as-api = As API
data-table = Data table
same-as-table = Same as a table
none = none
unknown = unknown
not-known = Not known
platform = platform
reason = Reason
back = Back
next = What to do:
code = Code
to-overview = Back to the overview

## Spans of time
ago-now = just now
ago = { $span } ago
span-ms = { $a } ms
span-s = { $a } s
span-min = { $a } min
span-min-s = { $a } min { $b } s
span-h = { $a } h
span-h-min = { $a } h { $b } min
span-d = { $a } d
span-d-h = { $a } d { $b } h

## Titles
title-login = Sign in
title-overview = Overview
title-services = Services
title-service = Service
title-alerts = Alerts
title-alert = Alert
title-incidents = Incidents
title-incident = Incident
title-operations = Operations
title-operation = Operation
title-docs = Manual
title-doc = Manual
title-plan = Plan
title-items = Items
title-item = Item
title-score-policies = Score policies
title-score-policy = Score policy
title-error = Not possible

## Overview
answers = The four answers
ask-fine = Is the fleet fine?
ask-where = Where not?
ask-since = Since when?
ask-who = Who acts?
headline-ok = { $n ->
    [one] Yes. The service is healthy.
   *[other] Yes. All { $n } services are healthy.
}
headline-empty = Nothing is watched yet.
headline-unknown = We cannot tell: too much is not readable.
headline-down = { $n ->
    [one] No. { $n } instance is down.
   *[other] No. { $n } instances are down.
}
headline-troubled = { $n ->
    [one] Not quite. { $n } service needs attention.
   *[other] Not quite. { $n } services need attention.
}
headline-unseen = { $n ->
    [one] Probably. { $n } instance cannot be read.
   *[other] Probably. { $n } instances cannot be read.
}
headline-firing = { $n ->
    [one] Not quite. { $n } alert is firing.
   *[other] Not quite. { $n } alerts are firing.
}
change-over = in { $over }
change-same = No change in { $over }
change-unknown = No earlier score to compare with
confidence-is = confidence { $ratio }
and-more = { $n ->
    [one] and { $n } more
   *[other] and { $n } more
}
nowhere = Nowhere
nowhere-what = { $n ->
    [one] The service has grade A or B
   *[other] All { $n } services have grade A or B
}
since-nothing = Nothing is firing
since-nothing-what = No warning, nothing critical
acts-nobody = Nobody yet
acts-nobody-what = See what the runbooks decided
acts-kill = Only you
acts-kill-what = The kill switch stops every automatic action
acts-unknown = Not known
acts-unknown-what = The store cannot be asked: alerts and operations are not known
store-away = Not known: the store is not available
acts-none = Nobody needs to
acts-none-what = No operation is running
step-of = step { $done } of { $total }
kpis = Key figures
kpi-instances = Instances
kpi-services = Services
kpi-firing = Firing alerts
kpi-ops = Commands per second
kpi-ops-what = over all nodes
kpi-memory = Memory used
kpi-memory-masters = Memory of the masters
kpi-clients = Clients
kpi-clients-what = of maxclients, worst node
kpi-slow = Slow commands
kpi-slow-what = per minute
kpi-troubled = { $n ->
    [0] all at grade A or B
   *[other] { $n } not at grade A or B
}
n-up = { $n } up
n-down = { $n } down
n-unknown = { $n } unknown
memory-of = { $ratio } of { $max }
memory-no-limit = no limit is set
of-limit = { $ratio } of maxmemory
no-limit = no limit
nothing-fires = Nothing is firing.
worst = Worst services
all-services = All services
all-alerts = All alerts
all-operations = All operations
operation-runs = operation running
trend = Fleet score
trend-what = last hour
zones = Zones
zones-even = masters spread evenly
firing = Firing alerts
running = Running operations
running-none = No operation is running.
changes = Recent changes
changes-none = Nothing changed lately.

## Columns
col-service = Service
col-health = Health
col-cause = What pulls it down
col-alerts = Alerts
col-time = Time
col-score = Score
col-zone = Zone
col-instances = Instances
col-masters = Masters
col-share = Share of masters
col-memory = Memory
col-level = Level
col-alert = Alert
col-where = Where
col-since = Since
col-operation = Operation
col-state = State
col-progress = Progress
col-elapsed = Time taken
col-built = Built as
col-ops = Ops/s
col-clients = Clients
col-slow = Slow/min
col-dimension = Dimension
col-why = Why
col-points = Points
col-bar = Bar
col-instance = Instance
col-role = Role
col-host = Host
col-limit = Limit
col-lag = Lag
col-data-age = Data age
col-target = Target
col-by = By
col-made = Started
col-phase = Phase
col-value = Value
col-threshold = Threshold
col-source = Source
col-runbook = Runbook
col-count = Occurrences
col-opened = Opened
col-receiver = Receiver
col-incident = Incident
col-guard = Guard
col-result = Result
col-seen = What was seen
col-check = Check
col-number = No.
col-step = Step
col-commands = Commands
col-tries = Tries

## Lists
filter = Filter
filter-hint = Filter by name, system, state …
filter-clear = Clear the filter
scope-is = in { $scope }
scope-clear = show all
rows-of = { $shown } of { $n }
pager = Pages
page-first = First page
page-next = Next page
shape = { $shards ->
    [one] { $nodes ->
        [one] one node
       *[other] { $nodes } nodes · { $zones ->
            [one] one zone
           *[other] { $zones } zones
        }
    }
   *[other] { $shards } shards · { $nodes } nodes · { $zones ->
        [one] one zone
       *[other] { $zones } zones
    }
}
engine-unknown = engine unknown
empty-docs = No page of the manual is built in
empty-docs-what = This program was built without the folder docs/runbooks.
col-page = Alert
col-about = About
doc-alerts = Alerts of the name { $name }
doc-read = What it means and what to do
empty-filter = Nothing matches
empty-filter-what = No row matches “{ $q }”.
empty-fleet = No service is watched yet
empty-fleet-what = Here stands every Redis and Valkey deployment with its score. Start with an inventory file:
empty-alerts = Nothing is firing
empty-alerts-what = Alerts of every policy appear here with value, threshold and delivery.
empty-incidents = No incident
empty-incidents-what = When a runbook looks at an alert, its decision appears here, also when it was to do nothing.
empty-operations = No operation yet
empty-operations-what = Switchovers and restarts appear here with their steps. Plan one from a service’s page.

## Service
ring-label = Score { $score } of 100: { $grade }
ring-label-unknown = The score is not known
trend-label = Score over the last hour, between { $low } and { $high }
trend-label-unknown = No score is known for the last hour
verdicts-label = { $up } up, { $down } down, { $unknown } unknown
topology = Topology
topology-what = { $masters ->
    [one] one master
   *[other] { $masters } masters
}, { $replicas ->
    [one] one replica
   *[other] { $replicas } replicas
} in { $zones ->
    [one] one zone
   *[other] { $zones } zones
}
since-blind = Alerts see no better than we do
zones-unknown = masters not known
topology-blind = { $nodes ->
    [one] one node
   *[other] { $nodes } nodes
} in { $zones ->
    [one] one zone
   *[other] { $zones } zones
}, roles not all known
topology-label = Topology: { $nodes } nodes in { $shards } shards; the same facts stand in the table below
topology-masters = { $n ->
    [0] no master
    [one] { $n } master
   *[other] { $n } masters
}
topology-shard = Shard { $n }
topology-slots = { $n } slots
topology-lag = lag { $bytes }
topology-lag-unknown = lag unknown
topology-link-down = link down
topology-none = No node of this service is known yet.
waterfall = Why this score
waterfall-what = what was lost from 100, exactly
waterfall-all = Every shard and instance
health-what = Every point lost, down to the signal
fall-start = Start
fall-score = Score
fall-nothing = Nothing is lost: 100.
grade-since = since
partial = only { $ratio } of the weight is known
grade-held-low = The score alone would be { $own }: a better grade than { $grade } is given once the score has stayed clearly above its bound for five minutes.
grade-held-high = The score alone would be { $own }: { $grade } is left once the score is clearly below its bound twice in a row.
grade-held-partial = The score alone would be { $own }: while not all of it is known, no grade is better than { $grade }.
gates-held = Caps that hold without binding:
unknown-signals = Signals nobody could read
needs = needs
suggestions = What would help
not-feasible = not feasible
not-applicable = { $n ->
    [one] { $n } signal does not apply
   *[other] { $n } signals do not apply
}
children = Below it, worst first
nothing-lost = Nothing is lost.
fact-built = Built as
fact-tier = Tier
fact-class = Class
fact-engine = Engine
fact-env = Environment
fact-owner = Owner
fact-managed = Operations
fact-grade-since = Grade since
fact-confidence = Confidence
fact-coverage = Coverage
fact-raw = Before gates
fact-computed = Computed
fact-ended = Ended
fact-policy = Policy
fact-last-seen = Last seen
fact-closed = Closed
fact-kind = Kind
fact-by = Asked by
fact-why = Why
fact-radius = Effect
fact-plan = Plan
fact-danger = Danger
fact-made = Made
fact-expires = Valid for
fact-locks = Locks
coverage-none = Only roll-ups have a coverage
owner-none = nobody is named
managed-yes = allowed
managed-no = watched only
endpoints = Endpoints
endpoints-none = No endpoint is known.
sentinels = Sentinels
actions = Actions
actions-what = Each one makes a plan first. Nothing runs before you have seen and confirmed it.
actions-none = Nothing can be planned here with your rights.
actions-unmanaged = This service is watched only. Set managed: true in the inventory to allow operations.
operations-none-here = No operation has touched this service.

## Alerts and incidents
value-foreign = Evaluated elsewhere, no value was sent
policy-foreign = rule of another system
incidents-of = Incidents
incidents-not-yet = No runbook has looked at it yet.
runbook-none = No runbook reacts to this alert.
annotations = Annotations
labels = Labels
history = History
history-none = No transition is kept.
against = against { $threshold }
deliveries = Deliveries
deliveries-none = Not handed to any receiver yet.
alert-gone = no longer kept
nothing-because = Do nothing:
guards = Guards
guards-none = Decided by
would-have = What it would have done
plan = Plan
plan-none = No plan was made.
decisions-none = No decision yet
decisions-none-what = The guards are still being asked. The decision appears here within seconds.
waits-for-you = A person decides
waits-for-you-what = Every other guard passed. Look at the plan below: what you start is exactly this plan, checked once more.
approve-and-start = Approve and start
evidence-title = Evidence
evidence-reading = Latest poll and score
evidence-topology = Topology, as each node says
evidence-info = INFO
evidence-slow-log = Slow log, by shape
evidence-clients = Clients, summed up
evidence-latency = Latency events
evidence-memory = Memory doctor
evidence-operations = Earlier operations
evidence-failed = Could not be read:
evidence-nothing = Nothing there.
evidence-left-out = Lines left out:
kill-title = Kill switch
kill-is-on = on: nothing acts by itself
kill-is-off = off: runbooks act as far as their mode allows
kill-what = One switch stops every automatic action of the platform at once. Watching, alerts and operations started by people go on.
kill-turn-on = Stop all automation
kill-turn-off = Allow automation again
kill-no-right = You do not have the right runbook.lower.

## Operations and plans
steps = Steps
steps-done = steps done
steps-none = No steps.
took = taken
elapsed = so far
journal = Journal
journal-what = every intent, command and outcome, oldest first
journal-none = Nothing is written yet.
step-n = step { $n }
at-most = at most { $span }
tries = up to { $n } tries
no-return = no way back from here
cancel-title = Cancel this operation?
cancel-what = The present step is finished, then everything done so far is undone in reverse. Past a point of no return it goes forward only.
cancel-do = Cancel and undo
cancel-asked = cancel asked for
checks = Checks
checks-passed = { $n ->
    [one] { $n } check passed
   *[other] all { $n } checks passed
}
checks-failed = { $n ->
    [one] { $n } check failed
   *[other] { $n } checks failed
}
plan-steps = What will be done
plan-steps-what = the exact commands, secrets masked
plan-expired = plan has expired
plan-expired-what = The world may have moved since. Make the plan again and look at it.
plan-refused = This plan cannot be started
plan-refused-what = Nothing was sent. Clear the failed checks, then make the plan again.
plan-again = Make the plan again
confirm-title = { $title }: start it?
confirm-type = Type { $name } to confirm
start-no-right = You may plan, but not start
start-no-right-what = Starting needs the right op.low or op.disrupt for this service. Hand the command below to somebody who has it.

## Sign in
login-what = The fleet is on the other side.
name = Name
password = Password
setup-title = Set up the first account
setup-what = The setup token was written to the log at the first start. It works once, within its hour.
setup-token = Setup token
setup-do = Create the account

## Families of words
verdict-up = up
verdict-down = down
verdict-unknown = unknown
grade-A = healthy
grade-B = good
grade-C = attention
grade-D = at risk
grade-E = critical
grade-unknown = unknown
level-info = info
level-warning = warning
level-critical = critical
phase-inactive = inactive
phase-pending = pending
phase-firing = firing
phase-recovering = recovering
phase-resolved = resolved
operation-planned = planned
operation-awaiting-approval = awaiting approval
operation-queued = queued
operation-running = running
operation-paused = paused
operation-verifying = verifying
operation-done = done
operation-refused = refused
operation-cancelled = cancelled
operation-unwinding = unwinding
operation-unwound = unwound
operation-stuck = stuck
opkind-switchover = Switchover
opkind-node-restart = Restart of a node
opkind-rolling-restart = Restart node by node
opkind-upgrade = Upgrade
opkind-replica-add = Replica more
opkind-replica-remove = Replica less
opkind-shard-add = Shard more
opkind-shard-remove = Shard less
opkind-rebalance = Rebalance
opkind-backup = Backup
opkind-restore = Restore
opstart-switchover = Switch over now
opstart-node-restart = Restart the node
opstart-rolling-restart = Restart node by node
opstart-upgrade = Upgrade now
opstart-replica-add = Add the replica
opstart-replica-remove = Remove the replica
opstart-shard-add = Add the shard
opstart-shard-remove = Remove the shard
opstart-rebalance = Move the slots
opstart-backup = Back up now
opstart-restore = Restore into it
step-pending = pending
step-running = running
step-done = done
step-failed = failed
step-undoing = undoing
step-undone = undone
step-stuck = stuck
incident-open = open
incident-acting = acting
incident-waiting = waiting
incident-escalated = escalated
incident-closed = closed
decision-auto = Act by itself
decision-ask = Ask a person
decision-page-only = Page only
decision-suppressed = Do nothing
delivery-waiting = waiting
delivery-accepted = accepted
delivery-rejected = rejected
delivery-seen = seen back
check-true = passed
check-false = refused
role-master = master
role-slave = replica
role-sentinel = Sentinel
role-none = role unknown
dimension-availability = Availability
dimension-memory = Memory
dimension-connections = Connections
dimension-slowlog = Slow log
dimension-child = Part
dimension-worst = Worst part
dimension-gate = Cap
scale-instance = instance
scale-shard = shard
scale-service = service
scale-system = business system
scale-tenant = tenant
scale-fleet = fleet
mode-standalone = Standalone
mode-sentinel = Sentinel
mode-cluster = Cluster
mode-sentinels = Sentinels
tier-core = core
tier-important = important
tier-general = general
tier-test = test
class-single = single
class-host = survives a host
class-zone = survives a zone
class-zone-durable = survives a zone, durable
source-embedded = cachewarden
source-alertmanager = Alertmanager
danger-1 = L1 reversible
danger-2 = L2 easily undone
danger-3 = L3 disrupts
danger-4 = L4 destroys
event-planned = planned
event-claimed = claimed
event-intent = intent
event-command = command
event-outcome = outcome
event-undo = undo
event-decision = decision
event-log = log
problem-CW-1000 = The request is malformed
problem-CW-1001 = A field is not valid
problem-CW-1002 = That is too large
problem-CW-1003 = Wrong content type
problem-CW-1100 = You are not signed in
problem-CW-1101 = Name or password is wrong
problem-CW-1102 = A second factor is needed
problem-CW-1103 = Too many tries; wait a little
problem-CW-1200 = You do not have the right for that
problem-CW-1201 = The origin or session check failed
problem-CW-1202 = That is your own request
problem-CW-1203 = A second person is needed
problem-CW-1300 = There is no such thing in your scope
problem-CW-1301 = There is no history for that time
problem-CW-1400 = It was changed meanwhile
problem-CW-1401 = The world moved: this is the new plan
problem-CW-1402 = A guard refused
problem-CW-1403 = This form was already sent with other values
problem-CW-1404 = Another operation holds it
problem-CW-1405 = The quota does not allow it
problem-CW-1410 = The typed confirmation is wrong
problem-CW-1411 = The revision is missing
problem-CW-1500 = Something broke on our side
problem-CW-1501 = Nothing can be written at the moment
problem-CW-1502 = Too busy; try again soon
problem-CW-1503 = The CMDB is away
problem-CW-1504 = The store is sealed

## Items
item-new = New item
col-item = Item
col-scope = Scope
col-cadence = Read
col-with-value = With a value
col-with-fault = With a fault
col-changed = Changed
col-revision = Revision
every-s = every { $s } s
revision = revision { $n }
empty-items = No item is defined
empty-items-what = An item is a figure of your own: a field of INFO, the length of a queue, the lag of a stream, an expression over others. It becomes a series, and a policy can judge it.
item-unsaved = not saved
item-flawed = { $n ->
    [one] { $n } thing is wrong
   *[other] { $n } things are wrong
}
item-fine = can be read
item-off = switched off
fact-cost-instances = Asked instances
fact-cost-commands = Commands a minute
fact-cost-instance = Of one instance, all items
fact-cost-class = Work for the server
fact-cost-series = Series
fact-cost-took = Last test
item-asked = { $asked } of { $n }
item-series = { $now } now, at most { $max }
micros = { $n } µs
item-untested = not tested
item-definition = Definition
item-name = Name
item-description = What it tells
item-kind = Behaves as
item-unit = Unit
item-text = Field, parameter, command, pattern, script, function or expression
item-text-what = A command: its arguments joined by blanks, or one a line. An expression: items in braces, fields of INFO by name.
item-path = Path into the reply
item-path-hint = *.lag
item-labels = Labels
item-labels-hint = group=name
item-section = Section of INFO
item-part = Part of the value
item-equals = Counts as 1 when it is
item-keys-max = Keys looked at, at most
item-keys = Keys of the script
item-args = Arguments of the script
item-cadence = Read every so many seconds
item-timeout = Time-out, ms
item-on = Read on
item-enabled = State
item-read = read
item-instance = Instance to test on
item-check = Check and show the cost
item-test = Test once
item-save = Save
item-no-right = You may look at this item. Changing it needs the right item.edit.
item-delete = Stop reading it
item-delete-what = The series ends with the next poll; the revisions stay and can be restored.
item-tested = Test run
item-raw = Reply
item-masked = What keys hold is masked: seeing it needs the right data.read.
item-took = { $took } µs for the round trip, a PING took { $ping } µs
item-values = Present values
item-values-none = No instance has read it yet.
item-history = Revisions
item-history-none = It was never saved.
item-by = By
item-deleted = deleted
item-restore = Restore
itemsource-info = field of INFO
itemsource-config = parameter of CONFIG
itemsource-command = command
itemsource-scan = count of keys
itemsource-script = Lua script
itemsource-function = function
itemsource-expr = expression
itemkind-gauge = gauge
itemkind-counter = counter
itemon-auto = as its source asks
itemon-master = the master
itemon-replica = replicas
itemon-any = every node
itemclass-none = none
itemclass-constant = constant
itemclass-logarithmic = logarithmic
itemclass-samples = a few samples
itemclass-groups = the groups of one stream
itemclass-scan = a part of the keys
itemclass-script = a short script
itemfault-timeout = no answer in time
itemfault-noperm = forbidden by the ACL
itemfault-unsupported = not known to the server
itemfault-wrong-type = another type
itemfault-refused = refused
itemfault-path = no such part
itemfault-not-a-number = no number
itemfault-too-large = reply too large
itemfault-budget = over budget
itemfault-series-limit = too many series
itemfault-reference = something it needs is unknown
itemfault-connection = connection broken

## Explanation of a score
title-health = Health
to-present = Back to the present
whatif = What if
whatif-what = Fields left empty stay as they are. Nothing is changed on any server.
whatif-do = Compute
whatif-none = There is nothing to set before the first score.
whatif-now = now { $value }
whatif-shown = With other inputs: { $now } would be { $then }.
past-exact = As it was shown at
past-rough = Grade and caps as they were, points as they were last stored before
policy-each = each service has its own
as-csv = CSV
as-json = JSON
history-what = every change of grade or cap in the last 24 hours; of services every hour too
history-no-change = No change was stored in the last 24 hours.
strip-label = Grades of the last 24 hours, { $n } stored moments; the table below has the same facts
col-gates = Caps
col-kept = Stored for
bar-loss = loss { $loss } × { $share } × { $weight }
bar-threshold = loss begins at { $at }, set by { $origin }
feasible = feasible
switched-off = Not counted by policy
switched-until = until
healthsource-live = in force
healthsource-whatif = computed
healthsource-stored = from the stored row
healthsource-memory = from the last hour in memory
healthsource-prometheus = from the series in Prometheus
mark-grade = change of grade
mark-gate = change of a cap
mark-hour = the hour
## Score policies
empty-score-policies = No scope is in sight
empty-score-policies-what = A score policy says how a tenant, business system or service wants its scores made: weights, thresholds, what must be there. What it does not say is inherited.
sp-what = How scores are made: what a scope does not set is inherited from the one above it.
sp-open = Open a scope
sp-open-hint = service:shop.cart
sp-open-go = Open
sp-fields = Sets
sp-services = Services
sp-inherits = inherits everything
sp-signed = signed by { $who }
sp-profile = Profile
sp-profile-from = Profile is
sp-confirm = Say what the data is for
sp-confirm-what = The profile decides what a full memory and a missing save mean. Confirming ends a guess.
sp-ignored = Not in force
sp-flawed = { $n ->
    [one] { $n } thing stands against saving it
   *[other] { $n } things stand against saving it
}
sp-signable = It lies far from the profile: a system administrator may sign it.
sp-preview = What it would do
sp-before = Now
sp-after = With it
sp-gain = Change
sp-mean = Mean
sp-lowest = Lowest
sp-moved = Other grade
sp-moments = { $n ->
    [one] of { $n } moment
   *[other] of { $n } moments
}
sp-none = No service would be judged otherwise.
sp-unchanged = { $n ->
    [one] { $n } service in its reach is judged as before.
   *[other] { $n } services in its reach are judged as before.
}
sp-would-ignore = Would not count any more
sp-document = Its document
sp-empty-inherits = An empty field is inherited.
sp-inherit = inherited
sp-replicas = Replicas required
sp-zones = Zones required
sp-persistence = Persistence required
sp-yes = yes
sp-no = no
sp-weights-what = Weights: all four or none; they sum to 1, each at least 0.05.
sp-slowlog = Slow from, ms
sp-slo = Promised availability
sp-curves = Loss curves
sp-curves-what = One signal a line: value and loss of each knot, healthy side first.
sp-off = Switched off
sp-off-what = One signal a line, with an end and a reason; on counts it again.
sp-gates = Caps of gates
sp-gates-what = One gate a line; below the platform a cap may only be lowered.
sp-locked = Locked: fields that nothing below may loosen
sp-preview-go = Preview
sp-save = Save
sp-sign-save = Sign and save
sp-no-right = You may look at this policy. Previewing a change needs policy.draft, saving it policy.publish.
sp-history = Revisions
sp-history-none = It was never changed.
sp-difference = Changed
sp-restore = Open to restore
sp-effective = In force
sp-field = Field
sp-origin = Set by
sp-builtin = { $n ->
    [one] { $n } field as built in
   *[other] { $n } fields as built in
}
profile-cache = cache
profile-store = store
profile-queue = queue
profile-session = session
input-maxmemory-bytes = maxmemory, bytes
input-used-memory-bytes = Memory used, bytes
input-maxclients = maxclients
input-connected-clients = Connected clients
input-replicas-required = Replicas required
input-replicas-healthy = Healthy replicas
input-slow-per-min = Slow commands per minute
input-slow-share = Share of time blocked by slow commands
input-slow-worst-ms = Slowest command, ms
input-command-p99-ms = 99 % of commands within, ms
input-probe-p99-ms = 99 % of PINGs within, ms
input-cpu-ratio = Main thread CPU, 0 to 1
input-link-down-s = Link to the master down, s
input-lag-bytes = Behind the master, bytes
input-backlog-bytes = Replication backlog, bytes
input-changes-24h = Restarts and role changes in 24 h
input-evicted = Keys evicted in the window
input-rss-bytes = Resident memory, bytes
input-host-memory-bytes = Memory of the host, bytes
input-fragmentation = Fragmentation ratio
input-client-memory-bytes = Memory of clients, bytes
input-rejected = Connections rejected in the window
input-connections-per-s = New connections per second
input-blocked-clients = Blocked clients
input-fork-s = Latest fork, s
input-spikes-per-h = Latency spikes per hour
input-slowlog-limit-ms = Slow log starts at, ms
input-growth-bytes-per-day = Growth of memory, bytes per day
profilefrom-default = the default
profilefrom-guessed = guessed, not confirmed
profilefrom-given = given
history-memory = from memory
history-prometheus = from Prometheus
title-parameters = Parameters
parameters-drift = { $n ->
    [one] one drifts
   *[other] { $n } drift
}
parameters-even = none drifts
col-parameter = Parameter
col-drift = Drift
col-wished = Wished
col-nodes = On its nodes
col-default = Default
col-risk = Risk
col-change = Change
drift-yes = drifts
drift-no = even
plan-change = Plan the change
parameter-fixed = needs a restart
parameters-link = Parameters
empty-parameters = No parameter to show
empty-parameters-what = No node told what it runs with, or nothing matches the filter.
parameterstate-same = as wished
parameterstate-differs = differs from the wish
parameterstate-unlike = unlike the others
parameterstate-volatile = the file says otherwise:
parameterstate-unknown = did not tell
parameterrisk-low = low
parameterrisk-service = availability
parameterrisk-data = data
opkind-param-change = Change of parameters
opkind-password-rotate = Password rotation
opstart-param-change = Change parameters
opstart-password-rotate = Rotate the password
approve-title = Waits for { $n } other person
approve-what = Nobody approves his own request. It ends by itself when nobody agrees until
approve-do = Approve this plan
approve-refuse = Refuse it
approvals = Approvals
approved-by = approved by { $who }
refused-by = refused by { $who }
pause-title = Wait before the next step
pause-what = The present step is finished first. The service stays locked for other operations.
pause-do = Pause
resume-title = It waits for a person
resume-what = It goes on with its next step.
resume-do = Resume
opkind-clients-kill = Closing of connections
opstart-clients-kill = Close these connections
opkind-memory-purge = Purge of memory
opstart-memory-purge = Purge
opkind-slowlog-reset = Reset of slow logs
opstart-slowlog-reset = Keep and reset
opkind-bgsave = Snapshot
opstart-bgsave = Save
title-console = Console
console-user = as { $user }
console-what = Only commands that read. Each line is on record; Redis itself refuses this user anything else.
console-line = Command
console-do = Ask
console-locked = No console user
console-locked-what = The console logs in as a user of Redis that may only read. Create it, then store its password:
console-cut = cut
console-took = { $us } µs
console-masked = a secret is masked
console-link = Console
consoleclass-read = reads
consoleclass-bounded = reads after a look at the size
# Days to full, objectives, lost zones
title-zone-loss = If this zone were lost now
capacity = Days to full
capacity-what = from { $days } whole days ({ $source })
capacity-none = Nothing with a limit was seen yet.
capacity-short = No forecast yet: { $days } whole days seen, 7 are needed
capacity-today = Full today
capacity-between = Full between { $low } and { $high } days (80 %)
capacity-open = Full in { $mid } days, { $low } at the earliest (80 %)
capacity-far = No end in sight, { $low } days at the earliest (80 %)
capacity-never = No end in sight
capacity-weak = weak: only { $days } days seen
resource-memory = Memory
resource-connections = Connections
resource-host-memory = Memory of the host
col-resource = Resource
col-full = Full
col-likely = Likely
col-level-now = Level
col-per-day = Growth a day
col-jumps = Jumps
slo = Objective
slo-what = seconds in which the writable master of each slot answered, over { $days } days
slo-none = No second is counted yet: nothing was polled.
slo-target = Target
slo-no-target = no target
slo-availability = Availability
slo-adjusted = Without planned work
slo-remaining = Error budget left
slo-of = of { $all }
slo-bad = Bad
slo-planned = { $part } of it planned
slo-unknown = Unknown
slo-since = Counted since
slo-too-much-unknown = Too much of the last 6 hours is unknown to say more
slo-burns = burns more than { $factor } times too fast over { $long } and { $short }
burn-page = Users are affected now:
burn-ticket = The objective will be missed:
col-window = Window
col-burn = Burn rate
outcome-ok = Unchanged
outcome-degraded = Degraded
outcome-down = Down
zone-instances-what = stand in this zone
zone-down-what = services whose users get errors
zone-degraded-what = services with less behind them
zone-ok-what = services that lose nothing
zone-was-down = it was down before
zone-lag = { $lag } would be lost
zone-nothing = Nothing stands in this zone.
zone-hosts = Hosts that take over
zone-hosts-what = with the work of the masters that move to them
zone-over = above 85 %
zone-host-size = the size of the host, or its use, is not known
zone-levels = Scores
col-outcome = Afterwards
col-moves = Masters that move
col-lost = Lost nodes
col-masters-taken = Masters
col-cpu = Processors
col-network = Traffic per second
col-object = Object
col-before = Now
col-after = Afterwards
## Silences, maintenance, calendars, the history of alerts
title-alert-history = Alert history
title-silences = Silences
title-maintenance = Maintenance
title-calendars = Calendars
alerts-nav = Alerts and what withholds them
file-csv = CSV
ack = Acknowledge
ack-what = Says that you have seen it and take care of it. It goes on firing; pagers stop asking.
note = Note
col-acknowledged = Acknowledged
col-withheld = Withheld
col-fired = Fired
col-resolved = Resolved
col-mtta = Mean time to acknowledge
col-mttr = Mean time to resolve
col-lasted = Lasted
col-matchers = Labels
col-begins = Begins
col-ends = Ends
col-calendar = Calendar
col-windows = Windows
col-changes = Next change
withheld-by = withheld by { $what }
in-maintenance = in maintenance
history-from = From
history-from-hint = 30d, or 2026-03-01
history-to = Until
history-any = any
answer-yes = yes
answer-no = no
answered = How alerts were answered
answered-since = since
answered-none = No alert began in this time.
never-acknowledged = none was acknowledged
never-resolved = none is over
never = never
empty-history = No alert in this time
empty-history-what = Every alert that began stays here for 400 days, with who acknowledged it and how long it lasted.
silence-active = active
silence-pending = planned
silence-expired = over
silence-new = Silence
silence-make = Create the silence
silence-expire = End now
silence-matchers-what = One a line: name=value, name!=value, name=~expression, name!~expression. All must hold; the scope is added by itself.
silence-no-right = Silences need the right silence.edit.
empty-silences = No silence
empty-silences-what = A silence keeps alerts with certain labels from people until its end. They go on firing and stand in the history.
scope-hint = tenant:shop, service:shop.cart
duration = For how long
begins-at = Begins at
begins-hint = now, or 2026-03-01T22:00:00Z
maintenance-running = running
maintenance-planned = planned
maintenance-over = over
maintenance-new = Start a maintenance
maintenance-what = New alerts inside are withheld until the end and told then if they still fire. What was told before stays told; nothing is remedied automatically there.
maintenance-begin = Start
maintenance-end = End now
maintenance-no-right = Maintenances need the right maintenance.edit.
ended-by = ended by { $who }
empty-maintenance = No maintenance
empty-maintenance-what = While somebody works on a part of the fleet, its new alerts can be withheld until a stated end.
calendar-open = open
calendar-closed = closed
calendar-new = Create or change a calendar
calendar-id = Name
calendar-save = Save
calendar-delete = Delete
calendar-windows-what = One window a line: local start, length, how often.
calendar-no-right = Calendars need the right calendar.edit.
empty-calendars = No calendar
empty-calendars-what = A policy can name calendars: outside their windows, or inside them, its new alerts are withheld.
## Zone risk
zone-risk = Zone safety
zone-risk-score = { $n } of 100
zone-risk-none = Any one zone or host the service's class counts on may go, and a failover works.
col-risk-class = Class
col-risk-finding = Finding
col-risk-about = About
col-risk-off = Points off
risk-class-A = data or quorum
risk-class-B = layout or failover
risk-class-C = weaker than promised
## Threshold policies
title-policies = Policies
title-policy = Policy
policies-what = What is judged, at which thresholds, for whom. What a scope does not set is inherited from the one above it.
policy-id = Policy
policy-id-hint = memory-used
policy-scope-hint = tenant:shop
policy-open = Open
policy-signal = Judges
policy-levels = Levels of the platform
policy-layers = Layers
policy-firing = Firing
policy-off = switched off
policy-as-shipped = as shipped
policy-no-layer = no layer of its own
policy-origin = Comes
policy-shipped = with the program
policy-own = from this installation
policy-problem = It cannot be evaluated
policy-faults = { $n ->
    [one] { $n } thing stands against publishing it
   *[other] { $n } things stand against publishing it
}
policy-line = line { $n }
policy-reach = Whom it reaches
policy-reached = Instances
policy-judged-otherwise = Judged otherwise than now
policy-document = Document
policy-document-what = Only what stands here is set at this scope; everything else is inherited.
policy-text = YAML
policy-check = Check
policy-publish = Publish
policy-no-right = You may look at this policy. Checking a change needs policy.draft, publishing it policy.publish.
policy-history = Revisions
policy-history-none = It was never changed.
policy-open-old = Open to restore
policy-retired = taken out of force
policy-retire = Take this layer out of force
policy-retire-what = Its fields are inherited again; what it alone made fire ends.
policy-effective = In force here
policy-field = Field
policy-set-by = Set by
empty-policies = No policy is in sight
engine-embedded = evaluated here
engine-prometheus = evaluated by Prometheus
engine-both = evaluated here, compared with Prometheus
backtest = What it would have done
backtest-source = Samples
backtest-step = every { $n } s
backtest-coverage = Covered
backtest-instances = Instances
backtest-without = Unknown
backtest-without-n = { $n ->
    [one] { $n } instance without samples
   *[other] { $n } instances without samples
}
backtest-week = A week
backtest-minutes = Minutes firing
backtest-flaps = Flapping
backtest-draft = This document
backtest-current = In force now
backtest-versus = Only with this document { $draft }, only with the present one { $current }, with both { $both }.
backtest-per-day = { $n } alerts a day
backtest-suggested = Thresholds that page no more than asked for
backtest-suggested-week = a week:
backtest-services = By service
backtest-intervals = { $n ->
    [one] { $n } alert
   *[other] { $n } alerts
}
backtest-start = Began
backtest-end = Ended
backtest-peak = Peak
backtest-open = still fires
backtest-flapping = kept firing, for it swung
backtest-from = Look back
backtest-day = a day
backtest-seven = 7 days
backtest-thirty = 30 days
backtest-pages = Alerts a week at most
backtest-go = Backtest
title-alert-quality = Alert quality
quality-what = What fired in thirty days, what was done about it, and what is noise.
quality-made = Made
quality-verdicts = Verdict
quality-acted = Acted on
quality-brief = Under 5 min
quality-fine = fine
quality-noisy = noisy
quality-never-acted-on = never acted on
quality-flapping = flapping
quality-short = over before anybody looks
quality-silent = silent for 90 days
empty-quality = No alerts to judge
empty-quality-what = The report is made every night from the alerts of thirty days.
## Batches over a zone
opkind-evacuate = Evacuation of a zone
opkind-zone-restore = Return to a zone
opstart-evacuate = Move the masters out
opstart-zone-restore = Bring the masters back
fact-batch = Batch
batch-rows = Parts
batch-rows-what = { $done } of { $all } done
batch-not-begun = not begun
batch-left-out = left out
col-wave = Wave
zone-evacuated = This zone is evacuated
zone-evacuate-what = Every master here is handed over to another zone, one service first, then in waves; no master comes back by itself until the zone is restored.
zone-restore-what = No master comes back here by itself. The plan brings back those that were here.
zone-discovery = Clients of services without Sentinel and cluster
discovery-left-out = leave those services out
discovery-none-needed = they try all nodes
discovery-manual = somebody redirects them
opkind-drill = Drill
opstart-drill = Start the drill
plan-any = Plan another operation
plan-params = Input, as JSON
plan-make = Make the plan
opkind-node-move = Move of a replica
opstart-node-move = Move the replica
opkind-demote = Demotion of a returned master
opstart-demote = Make it a replica
