/// Rows whose value can be no reference.
actor BadReferences {
    private let probe: ReferencesProbe
    private let relation: String?
    private let findings: FindingBuffer
    private(set) var count: Int64 = 0

    init(probe: ReferencesProbe, relation: String?, findings: FindingBuffer) {
        self.probe = probe
        self.relation = relation
        self.findings = findings
    }

    func record(_ bad: OrderedReferences.Bad) async throws {
        count += 1
        try await findings.add([
            Finding(
                probe: probe.name, kind: .badReference, relation: relation, rowID: bad.rowID,
                bucket: probe.settings.bucket,
                objectKey: withoutSecrets(bad.raw),
                expected: "a reference of form \(probe.settings.parser.form.rawValue)",
                observed: bad.reason, repair: repairText(.badReference, .unknown))
        ])
    }
}
