export type { ConnectionOptions } from './connection.ts';
export type { RemoteFile } from './repository.ts';
export { listRepository, type Snapshot, snapshot, type SnapshotOptions, type SnapshotProgress } from './snapshot.ts';
export { commitFiles, type LocalFile, lookAt, type PlannedFile, planUpload, type RemoteState, remoteText } from './upload.ts';
