/// A probe that comes with a kind of backup, beside those of the drill file.
package struct RequiredProbe: Sendable {
    /// A number is put behind it where the drill file has another probe of that name.
    private let name: String
    /// Whether a probe of the drill file asks the same already.
    let isMet: @Sendable (any Probe) -> Bool
    private let make: @Sendable (_ name: String) -> any Probe

    package init(
        name: String, isMet: @escaping @Sendable (any Probe) -> Bool,
        make: @escaping @Sendable (_ name: String) -> any Probe
    ) {
        self.name = name
        self.isMet = isMet
        self.make = make
    }

    func probe(beside others: [any Probe]) -> any Probe {
        let names = [name] + (2...others.count + 2).map { "\(name)-\($0)" }
        return make(names.first { candidate in !others.contains { $0.name == candidate } } ?? name)
    }
}
