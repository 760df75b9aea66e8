import DrillCore
import Foundation

/// To which instants RDS can restore, and whether the one asked for is among them. Pure.
struct RDSWindow: Sendable {
    let production: RDSProduction
    let now: Date

    /// RDS uploads logs every five minutes; what is later than that is behind.
    static let usualLag: TimeInterval = 900

    /// Why nothing can be restored to that target; nil where it can. Throws where it only cannot yet.
    func fault(_ target: RecoveryTarget, at place: String) throws -> String? {
        if production.backupRetentionDays == 0 {
            return "automated backups are off (retention of 0 days), so there is nothing to restore from"
        }
        guard let latest = production.latest else {
            return "RDS states no latest restorable time: there is no automated backup yet"
        }
        guard case .instant(let instant) = target else { return nil }
        if instant > now {
            throw DrillError(
                .couldNotLook, "the recovery target \(rfc3339(instant)) is in the future (now is \(rfc3339(now)))",
                at: place, hints: ["Nothing can be restored to an instant that has not come."])
        }
        if let earliest = production.earliest, instant < earliest {
            return
                "the recovery target \(rfc3339(instant)) is before the earliest restorable time \(rfc3339(earliest)): "
                + "backups do not reach back that far"
        }
        guard instant > latest else { return nil }
        let lag = now.timeIntervalSince(latest)
        guard lag > Self.usualLag else {
            throw DrillError(
                .couldNotLook,
                "the recovery target \(rfc3339(instant)) is not restorable yet: the latest restorable time is \(rfc3339(latest))",
                at: place, hints: ["RDS uploads logs every 5 minutes; drill again then, or use `latest`."])
        }
        return
            "the recovery target \(rfc3339(instant)) is after the latest restorable time \(rfc3339(latest)), which is "
            + "\(spanText(lag)) behind"
    }

    /// The instant to name to RDS. It must lie before the latest restorable time (Amazon RDS API Reference,
    /// RestoreDBInstanceToPointInTime), so `latest` is the second before it; an instant is known to the second and no finer.
    func instant(of target: RecoveryTarget) -> Date? {
        if case .instant(let instant) = target { return instant }
        return production.latest.map { Date(timeIntervalSince1970: ($0.timeIntervalSince1970 - 1).rounded(.down)) }
    }
}

/// The one set that RDS offers: everything from the earliest to the latest restorable time.
struct RDSCatalog: BackupCatalog {
    let control: RDSControl
    let source: RDSSettings.Source
    let target: RecoveryTarget

    var place: String { "\(control.api.place), \(source.text)" }

    func candidates() async throws -> [BackupSet] {
        let production = try await control.production(source)
        var set = BackupSet(
            id: source.identifier, time: production.latest, place: place, notes: production.notes)
        set.facts = [
            ("restorable from", production.earliest.map(rfc3339) ?? "(not told)"),
            ("to", production.latest.map(rfc3339) ?? "(nothing)"),
            ("engine", "\(production.engine) \(production.engineVersion)"),
        ]
        if let instanceClass = production.instanceClass { set.facts.append(("class", instanceClass)) }
        let window = RDSWindow(production: production, now: control.clock.now())
        if let fault = try window.fault(target, at: place) { set.state = .unusable(fault) }
        return [set]
    }

    func examined(_ set: BackupSet) async throws -> BackupSet { set }
}
