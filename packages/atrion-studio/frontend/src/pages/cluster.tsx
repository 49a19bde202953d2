import { CopyLink, Empty, Panel, SaveJson, Scroll, Tile } from "../components.tsx";
import { bytes, clock, number, seconds, type Meta } from "../model.ts";
import { format } from "../router.ts";
import { store, useFrame } from "../store.ts";

const FRESH = 3;

export function ClusterPage({ meta }: { meta: Meta | null }) {
  const frame = useFrame();
  if (frame === null) return <p class="loading">Waiting for the first numbers…</p>;
  const { cluster } = frame;
  const pulled = Object.entries(frame.routes)
    .filter(([, row]) => Math.abs(row.parts.cluster) >= 0.05)
    .sort((a, b) => Math.abs(b[1].parts.cluster) - Math.abs(a[1].parts.cluster));
  const alone = cluster.nodes.length <= 1;
  return (
    <>
      <div class="headline">
        <h1 class={cluster.healthy ? "" : "bad"}>{cluster.healthy ? (alone ? "One node" : `${cluster.nodes.length} nodes share what they learn`) : "The store does not answer"}</h1>
        <div class="tools"><CopyLink /><SaveJson name="atrion-cluster" data={() => store.frame?.cluster} /></div>
      </div>
      {!cluster.healthy && (
        <p class="hint">Requests are unaffected: every node decides from what it has seen itself until the store is back. <code>atrion doctor URL</code> says what is wrong with it.</p>
      )}
      <div class="tiles">
        <Tile label="Store" value={cluster.healthy ? "● Answers" : "✕ Silent"} note={cluster.provider.replace("Provider", "")} {...(cluster.healthy ? {} : { tone: "broken" as const })} />
        <Tile label="Failed round trips" value={number(cluster.failures)} />
        <Tile label="Dropped rows" value={number(cluster.dropped_rows)} note="answers that made no sense" />
        <Tile label="Read at" value={clock(frame.at)} />
        {cluster.licence !== undefined && <Tile label="Licence" value={cluster.licence.state} note={cluster.licence.detail} />}
      </div>
      <Panel title="Nodes">
        {cluster.nodes.length === 0 ? (
          <Empty title="No node has said anything lately">
            <p>Nodes publish their vitals within a second or two while somebody watches. Do they use the same store and namespace?</p>
          </Empty>
        ) : (
          <Scroll label="Nodes">
            <table>
              <thead><tr><th scope="col">Node</th><th scope="col">State</th><th scope="col" class="num">Last heard</th><th scope="col" class="num">Routes</th></tr></thead>
              <tbody>
                {cluster.nodes.map((node) => (
                  <tr key={node.node}>
                    <th scope="row">{node.node}{node.node === cluster.node && <span class="muted"> (this one)</span>}</th>
                    <td class={node.age <= FRESH ? "good" : "bad"}>{node.age <= FRESH ? "● fresh" : "○ stale"}</td>
                    <td class="num">{node.age < 1 ? "now" : `${seconds(node.age)} ago`}</td>
                    <td class="num">{number(node.routes)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        )}
      </Panel>
      <Panel title="What the cluster changes">
        {pulled.length === 0 ? (
          <p class="muted">At this moment the others’ opinion changes no resistance here.</p>
        ) : (
          <Scroll label="What the cluster changes">
            <table>
              <thead><tr><th scope="col">Route</th><th scope="col" class="num">Own scar</th><th scope="col" class="num">γ</th><th scope="col" class="num">The cluster adds</th></tr></thead>
              <tbody>
                {pulled.slice(0, 50).map(([id, row]) => (
                  <tr key={id}>
                    <th scope="row"><a href={format("route", id)}>{id}</a></th>
                    <td class="num">{number(row.parts.scar, 1)} Ω</td>
                    <td class="num">{row.gamma}</td>
                    <td class="num">{row.parts.cluster > 0 ? "+" : ""}{number(row.parts.cluster, 1)} Ω</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        )}
        <p class="muted small">γ is the share of the others’ scar in a route’s own: 0 ignores them, 1 obeys them.</p>
      </Panel>
      {meta !== null && (
        <p class="muted small">
          Atrion {meta.version}. The past takes {bytes(meta.history.bytes_per_route)} a route, for at most {number(meta.history.max_routes)} routes.
        </p>
      )}
    </>
  );
}
