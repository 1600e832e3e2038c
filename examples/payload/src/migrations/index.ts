import * as migration_20261125_144708_initial from './20261125_144708_initial';

export const migrations = [
  {
    up: migration_20261125_144708_initial.up,
    down: migration_20261125_144708_initial.down,
    name: '20261125_144708_initial'
  },
];
